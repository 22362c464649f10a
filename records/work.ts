/**
 * A guest's operations through a migration, as one count over time: what the source counted up to the pause,
 * nothing during it, and what the destination counted from the resume on. All times are the source's clock,
 * ms.
 */

import type { OperationSeries } from '../proto/generated/godwit/v1/guest.ts';
import type { OperationsRecord } from './result-record.ts';

/** The hosts sample about this often, and so finely the record shows it. */
export const INTERVAL_MS = 20;

interface Point {
  readonly atMs: number;
  readonly operations: number;
}

/** Never falls; at least two points, of which no two have the same time. */
export interface Work {
  readonly points: readonly Point[];
}

export interface WorkParts {
  readonly source: OperationSeries;
  /** Since the guest resumed there; in the destination's clock. */
  readonly destination: OperationSeries;
  /** Source clock minus destination clock. */
  readonly clockOffsetMs: number;
  /** When the last vCPU came to rest and when the first one ran again; undefined when they did not. */
  readonly parkedAtMs: number | undefined;
  readonly resumedAtMs: number | undefined;
}

/** The whole course of the work; undefined when there are too few samples to say anything. */
export function joinWork(parts: WorkParts): Work | undefined {
  const { source, destination, clockOffsetMs, parkedAtMs, resumedAtMs } = parts;
  const points: Point[] = [];
  const add = (atMs: number, operations: number): void => {
    const last = points.at(-1);
    if (last !== undefined && atMs <= last.atMs) return;
    points.push({ atMs, operations: Math.max(operations, last?.operations ?? 0) });
  };
  const handedOver = parkedAtMs !== undefined && resumedAtMs !== undefined;
  for (const [index, atMs] of source.atMs.entries()) {
    const count = source.operations[index] ?? 0;
    // Until its first operation the guest was being started, which is no work at a lower rate.
    if (points.length === 0 && count === 0 && (source.operations.at(-1) ?? 0) > 0) continue;
    // What the source sampled in and after the pause is the count at the pause.
    if (!handedOver || atMs < parkedAtMs) add(atMs, count);
  }
  if (handedOver) {
    const done = source.operations.at(-1) ?? 0;
    add(parkedAtMs, done);
    add(resumedAtMs, done);
    for (const [index, atMs] of destination.atMs.entries()) {
      add(atMs + clockOffsetMs, done + (destination.operations[index] ?? 0));
    }
  }
  return points.length < 2 ? undefined : { points };
}

/** Operations per second between two times, or null where the work is not known. */
export function rateBetween(work: Work, fromMs: number, toMs: number): number | null {
  const from = Math.max(fromMs, work.points[0]!.atMs);
  const to = Math.min(toMs, work.points.at(-1)!.atMs);
  if (to <= from) return null;
  return ((countAt(work, to) - countAt(work, from)) * 1000) / (to - from);
}

/** The work in intervals of 20 ms, counted from `zeroMs`. */
export function intervals(work: Work, zeroMs: number): OperationsRecord[] {
  const first = Math.ceil((work.points[0]!.atMs - zeroMs) / INTERVAL_MS);
  const end = Math.floor((work.points.at(-1)!.atMs - zeroMs) / INTERVAL_MS);
  const records: OperationsRecord[] = [];
  let before = countAt(work, zeroMs + first * INTERVAL_MS);
  for (let index = first; index < end; index++) {
    const after = countAt(work, zeroMs + (index + 1) * INTERVAL_MS);
    records.push({ at_ms: index * INTERVAL_MS, operations_per_s: ((after - before) * 1000) / INTERVAL_MS });
    before = after;
  }
  return records;
}

/** The operations done by a time, straight lines between the samples. */
function countAt({ points }: Work, atMs: number): number {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (points[middle]!.atMs <= atMs) low = middle;
    else high = middle;
  }
  const from = points[low]!;
  const to = points[high]!;
  const share = Math.min(1, Math.max(0, (atMs - from.atMs) / (to.atMs - from.atMs)));
  return from.operations + share * (to.operations - from.operations);
}
