/**
 * The gangs of this host: guests that leave it at the same time for the same destination, and asked to be
 * compared with each other (dedup with the scope gang or host). What they share is the set of contents that any
 * of them has sent.
 */

import { PAGE_BYTES } from '../proto/page.ts';
import { SentContents } from './transform/sent-contents.ts';

/** More contents than this push each other out of the set. */
const CONTENTS_MAX = 2 ** 22;

interface Gang {
  readonly sent: SharedArrayBuffer;
  members: number;
}

/** A guest's place in a gang, until it leaves it. */
export interface Membership {
  /** Of SentContents. */
  readonly sent: SharedArrayBuffer;
  leave(): void;
}

export class Gangs {
  readonly #capacityBytes: number;
  readonly #gangs = new Map<string, Gang>();

  /** @param capacityBytes how much memory the host's guests have at most */
  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** A guest sets out for a destination. With its last member the gang is forgotten. */
  join(destination: string): Membership {
    const contentsMax = Math.min(this.#capacityBytes / PAGE_BYTES, CONTENTS_MAX);
    const gang = this.#gangs.get(destination) ?? { sent: SentContents.allocate(contentsMax), members: 0 };
    this.#gangs.set(destination, gang);
    gang.members++;
    let hasLeft = false;
    return {
      sent: gang.sent,
      leave: () => {
        if (hasLeft) return;
        hasLeft = true;
        if (--gang.members === 0) this.#gangs.delete(destination);
      },
    };
  }
}
