/**
 * The one clock of every measure: the machine's monotonic clock. All threads and processes of a machine read
 * the same one, so that times taken by two hosts, or by a host and a client outside, can be subtracted.
 */

/** Milliseconds of CLOCK_MONOTONIC, with fractions; the same in all threads and processes of a machine. */
export function nowMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
