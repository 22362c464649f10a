/**
 * Something that steers a pre-copy while it runs: it slows the guest (throttles) or sets what the sender takes of the
 * link (bandwidth rules). It lives in the mover's thread and must never wait.
 */

import type { PrecopyView } from './precopy-view.ts';

export interface Governor {
  /** While a round is being sent, about every MOVER_LIMITS.governorTickMs. */
  tick(view: PrecopyView): void;
  /** A round is over; before it is decided whether another follows. */
  roundEnded(view: PrecopyView): void;
  /** The rounds are over, or the migration is. What it did to the guest it undoes here. Called at least once. */
  end(): void;
}
