/**
 * What the rules that steer a pre-copy see of it: counts, estimates, and the rounds so far. Times are this host's
 * clock, ms.
 */

import type { RoundReport } from '../../../proto/generated/godwit/v1/migration.ts';

export interface PrecopyView {
  readonly nowMs: number;
  /** When the source took the migration on. */
  readonly acceptedAtMs: number;
  /** Of the guest's memory. */
  readonly pageCount: number;
  /** The rounds that are over, oldest first. */
  readonly rounds: readonly RoundReport[];
  /** Of the round that is under way; after it, of the one that was. */
  readonly round: number;
  readonly roundStartMs: number;
  readonly roundPages: number;
  /** Since the beginning: pages, each as often as it went, those of zeroes too; and bytes on all channels. */
  readonly sentPages: number;
  readonly sentBytes: number;
  /** Pages that were written since they were last sent, or collected to be sent. */
  readonly dirtyPages: number;
  /** Estimates of the newest rounds (estimates.ts); 0 while they are not known. */
  readonly bandwidthBytesPerS: number;
  readonly dirtyRatePagesPerS: number;
  /** Bytes that a page with content costs on the wire. */
  readonly pageBytes: number;
}
