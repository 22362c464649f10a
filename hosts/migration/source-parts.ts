/**
 * What the source's side of a migration is made of, for the rounds (source-side.ts) and the handover
 * (switchover.ts).
 */

import type { Failpoints } from './failpoints.ts';
import type { SourceMoverData } from './messages.ts';
import type { ProgressBoard } from './progress-board.ts';
import type { Silence } from './silence.ts';
import type { SourceChannel } from './source-channel.ts';
import type { Side } from './wire.ts';

/** The way to the witness, through the main thread. */
export interface Witness {
  /** Resolves when the handover is on record. @throws when it is refused; the guest stays here */
  beginHandover(): Promise<void>;
  /** COMMIT was sent, and no RESUMED came. */
  commitUnanswered(): void;
  /** Who has the guest, when the witness was asked. */
  readonly decided: Promise<Side>;
}

export interface SourceParts {
  readonly data: SourceMoverData;
  /** At least one; the first is main. */
  readonly channels: readonly SourceChannel[];
  readonly silence: Silence;
  readonly failpoints: Failpoints;
  readonly board: ProgressBoard;
  readonly witness: Witness;
  /** Resolves when the destination's vCPUs stand ready to run the guest. */
  readonly standby: Promise<unknown>;
  /** Ends the migration with its reason. */
  readonly signal: AbortSignal;
}
