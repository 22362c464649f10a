/** What is measured of one migration, whoever makes it. */

export interface Move {
  readonly totalMs: number;
  readonly downtimeMs: number;
  /** Bytes transferred over the total time. */
  readonly bytesPerS: number;
}
