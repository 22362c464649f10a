/**
 * A shape that changes over time, as a list of changes (`at: 2s, rate: 200mbit`): what holds at a time is a pure
 * function. Specs are checked with it and experiments apply it.
 */

import type { LinkShape, NetworkShape } from './generated/godwit/v1/network.ts';
import { networkShapeProblems, UNSHAPED_LINK } from './network-shape.ts';

/** A trace of an hour with ten points a second, and more. */
const SCHEDULE_CHANGES_MAX = 100_000;
const SCHEDULE_MS_MAX = 24 * 3_600_000;

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
