/** A guest's copy on one of the model hosts of handover-world.ts. */

/** The life of a guest's copy on one host. */
export interface Copy {
  side: 'owned' | 'source' | 'destination';
  migration: string;
  /** The guest's epoch at the source of the migration, or under which it is owned. */
  epoch: bigint;
  word: 'none' | 'kept' | 'committed' | 'ready' | 'resumed' | 'serving' | 'abandoned';
  /** The source's BeginHandover is on its way or answered: it runs only under a lease from here on. */
  isBegun: boolean;
  isPaused: boolean;
  isParked: boolean;
  /**
   * The source told the witness that it is COMMITTED: from then on only the witness's word frees the guest.
   */
  isPledged: boolean;
  /** The migration is a post-copy. */
  isLate: boolean;
  /** The migration with whose source the rest of its pages is, or empty. */
  lacks: string;
  /** The rest of its pages is nowhere any more. */
  isFailed: boolean;
}

/** The copy of a guest that nobody moves. */
export function ownedCopy(epoch: bigint): Copy {
  return {
    side: 'owned',
    migration: '',
    epoch,
    word: 'none',
    isBegun: false,
    isPaused: false,
    isParked: false,
    isPledged: false,
    isLate: false,
    lacks: '',
    isFailed: false,
  };
}
