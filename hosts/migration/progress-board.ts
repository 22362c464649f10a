/**
 * What a mover thread has done so far, in shared memory: the mover writes as it goes, the main thread reads
 * when it likes, also while the mover is busy, and after it died.
 */

import { type SharedFields, sharedFields } from './shared-fields.ts';

const FIELDS = [
  /** MigrationPhase. */
  'phase',
  /** 1 when the mover has paused the guest. */
  'paused',
  'round',
  'roundStartMs',
  'roundPages',
  'roundPagesSent',
  'roundStartBytes',
  'transferredBytes',
  'dirtyRatePagesPerS',
  'bandwidthBytesPerS',
  /** The way to the destination and back, now and at its shortest; not a number while it is not known. */
  'roundTripMs',
  'leastRoundTripMs',
  /** What a page with content costs on the wire; 0 while it is not known. */
  'pageBytes',
  'expectedDowntimeMs',
  /** Pages that a destination whose guest runs has asked for. */
  'postcopyRequests',
  /** Pages that were sent to it unasked. */
  'postcopyPushedPages',
  /** Pages that were missing when the destination was given the guest; 0 again when it has all. */
  'owedPages',
  /** At the destination: 1 while the guest runs there, lacks pages, and has no link to the source. */
  'isLinkLost',
  /** Connections and frames that were not what they should have been. */
  'refused',
] as const;
export type BoardField = (typeof FIELDS)[number];

export type ProgressBoard = SharedFields<BoardField>;

/** A new board of zeroes, or a view of one that another thread made. */
export function progressBoard(shared?: SharedArrayBuffer): ProgressBoard {
  return sharedFields(FIELDS, shared);
}
