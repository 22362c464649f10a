/**
 * A shape that changes over time: a list of changes (`at: 2s, rate: 200mbit`) or a trace of rates. What holds
 * at a time is a pure function; the driver only waits for the next change and applies it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { LinkShape, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { networkShapeProblems, UNSHAPED_LINK } from '../../proto/network-shape.ts';
import { SCHEDULE_CHANGES_MAX, SCHEDULE_MS_MAX } from './limits.ts';

/** From `atMs` on, the given fields of the NIC's links (or of one peer's) have these values. */
export interface ShapeChange {
  readonly atMs: number;
  /** Without it, both. */
  readonly direction?: 'egress' | 'ingress';
  /** Without it, the NIC's own links. */
  readonly peer?: string;
  readonly link: Partial<LinkShape>;
}

/**
 * The shape at a time since the schedule's begin. @param changes in any order; of two at one time the later
 * entry counts
 */
export function shapeAt(
  base: NetworkShape,
  changes: readonly ShapeChange[],
  elapsedMs: number,
): NetworkShape {
  let shape = base;
  for (const change of inOrder(changes)) {
    if (change.atMs > elapsedMs) break;
    shape = changed(shape, change);
  }
  return shape;
}

/** Everything that is wrong with a schedule, as sentences; empty when it can run. */
export function scheduleProblems(base: NetworkShape, changes: readonly ShapeChange[]): string[] {
  if (changes.length > SCHEDULE_CHANGES_MAX) {
    return [`the schedule has ${changes.length} changes; allowed is at most ${SCHEDULE_CHANGES_MAX}`];
  }
  const problems: string[] = [];
  let shape = base;
  for (const change of inOrder(changes)) {
    if (!(change.atMs >= 0 && change.atMs <= SCHEDULE_MS_MAX)) {
      problems.push(`a change is at ${change.atMs} ms; allowed is 0 to ${SCHEDULE_MS_MAX} ms`);
    }
    shape = changed(shape, change);
    problems.push(...networkShapeProblems(shape).map((problem) => `from ${change.atMs} ms on: ${problem}`));
  }
  return problems;
}

/**
 * The changes of a rate trace: a text of lines with a time in seconds and a rate in bytes per second, divided
 * by blanks or a comma; times rise, `#` begins a comment.
 *
 * @throws Error with the line's number when a line is something else
 */
export function parseRateTrace(text: string, direction?: 'egress' | 'ingress'): ShapeChange[] {
  const changes: ShapeChange[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const content = line.replace(/#.*/, '').trim();
    if (content === '') continue;
    const [timeS, rateBytesPerS, ...rest] = content.split(/[\s,]+/).map(Number);
    const atMs = timeS! * 1000;
    const rises = atMs >= (changes.at(-1)?.atMs ?? 0);
    if (!rises || !(rateBytesPerS! >= 0) || rest.length > 0) {
      throw new Error(
        `line ${index + 1} of the rate trace is "${line.trim()}"; allowed is a time in seconds, ` +
          'not before the line above, and a rate in bytes per second',
      );
    }
    changes.push({ atMs, link: { rateBytesPerS: rateBytesPerS! }, ...(direction && { direction }) });
  }
  return changes;
}

/**
 * Applies a schedule: the shape of each change at its time, from now on. A change that comes late is applied
 * with those that are due by then, at once.
 *
 * @param apply gives the NIC a shape
 * @returns when the last change has been applied, or the signal was given
 * @throws what `apply` throws
 */
export async function runSchedule(
  base: NetworkShape,
  changes: readonly ShapeChange[],
  apply: (shape: NetworkShape) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const startMs = performance.now();
  const times = [...new Set(inOrder(changes).map(({ atMs }) => atMs))];
  while (times.length > 0 && !signal.aborted) {
    const waitMs = times[0]! - (performance.now() - startMs);
    if (waitMs > 0) {
      // A timer may come a little early, by the clock that is read here.
      await sleep(Math.ceil(waitMs), undefined, { signal }).catch(() => {});
      continue;
    }
    const elapsedMs = performance.now() - startMs;
    while (times.length > 0 && times[0]! <= elapsedMs) times.shift();
    await apply(shapeAt(base, changes, elapsedMs));
  }
}

function inOrder(changes: readonly ShapeChange[]): ShapeChange[] {
  return changes.toSorted((a, b) => a.atMs - b.atMs);
}

function changed(shape: NetworkShape, { direction, peer, link }: ShapeChange): NetworkShape {
  const apply = <Links extends Pick<NetworkShape, 'egress' | 'ingress'>>(links: Links): Links => ({
    ...links,
    ...(direction !== 'ingress' && { egress: { ...UNSHAPED_LINK, ...links.egress, ...link } }),
    ...(direction !== 'egress' && { ingress: { ...UNSHAPED_LINK, ...links.ingress, ...link } }),
  });
  if (peer === undefined) return apply(shape);
  const known = shape.peers.some((entry) => entry.peer === peer);
  const peers = known ? shape.peers : [...shape.peers, { peer, egress: undefined, ingress: undefined }];
  return { ...shape, peers: peers.map((entry) => (entry.peer === peer ? apply(entry) : entry)) };
}
