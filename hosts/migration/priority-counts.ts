/**
 * What the thread for demanded pages has counted, in shared memory: that thread writes, the mover reads. Plain
 * doubles: what is counted for a page is stored before the page is marked as present, which is an atomic operation.
 */

import { type SharedFields, sharedFields } from './shared-fields.ts';

const FIELDS = [
  /** REQUESTs for a page. */
  'requests',
  'placedPages',
  'receivedBytes',
  /** Of the sealed records: their bytes, what they held, and what it cost to open them. */
  'sealedBytes',
  'openedBytes',
  'openingCpuS',
  'openingMs',
] as const;

export type PriorityCounts = SharedFields<(typeof FIELDS)[number]>;

/** New counts of zero, or a view of those that another thread made. */
export function priorityCounts(shared?: SharedArrayBuffer): PriorityCounts {
  return sharedFields(FIELDS, shared);
}
