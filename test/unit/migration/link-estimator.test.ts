/** The estimates of the link over a simulated one in virtual time: what it carries, and what nobody can know. */

import { describe, expect, test } from 'vitest';
import { Estimates } from '../../../hosts/migration/estimates.ts';
import { MOVER_LIMITS } from '../../../hosts/migration/limits.ts';
import { LinkEstimator } from '../../../hosts/migration/link-estimator.ts';

const MBIT_PER_MS = 125;
const FRAME_BYTES = 64 * 1024;
/** The destination's clock goes ahead by this: nothing may depend on it. */
const CLOCK_OFFSET_MS = 1e6;

interface World {
  /** What the link carries, bytes per ms. */
  readonly linkAt: (ms: number) => number;
  readonly oneWayMs: number;
  /** What the sender gives to its sockets, bytes per ms; infinite: as much as it may have on its way. */
  readonly sendAt: (ms: number) => number;
}

const ON_ITS_WAY_MAX = 4 * 1024 * 1024;

/** Moves bytes through the link in steps of a ms, and tells the estimator as the destination does. */
function simulate({ linkAt, oneWayMs, sendAt }: World, durationMs: number): LinkEstimator {
  let sent = 0;
  let due = 0;
  let left = 0;
  const estimator = new LinkEstimator(() => sent);
  const arrivals: { readonly bytes: number; readonly atMs: number }[] = [];
  let received = 0;
  let receivedAtMs = 0;
  const words: { readonly bytes: number; readonly receivedAtMs: number; readonly saidAtMs: number }[] = [];
  for (let ms = 1; ms <= durationMs; ms++) {
    due = Math.min(due + sendAt(ms), sent + ON_ITS_WAY_MAX);
    while (due - sent >= FRAME_BYTES && sent - left < ON_ITS_WAY_MAX) {
      sent += FRAME_BYTES;
      estimator.sent(FRAME_BYTES, ms, 0);
    }
    const carried = Math.min(linkAt(ms), sent - left);
    left += carried;
    if (carried > 0) arrivals.push({ bytes: Math.floor(left), atMs: ms + oneWayMs });
    while (arrivals[0] !== undefined && arrivals[0].atMs <= ms) {
      const { bytes, atMs } = arrivals.shift()!;
      received = bytes;
      receivedAtMs = atMs;
    }
    const last = words.at(-1);
    if (ms % MOVER_LIMITS.arrivedIntervalMs === 0 && received > (last?.bytes ?? 0)) {
      words.push({ bytes: received, receivedAtMs, saidAtMs: ms });
    }
    for (const word of words) {
      if (word.saidAtMs + oneWayMs !== ms) continue;
      const times = { receivedAtMs: word.receivedAtMs, saidAtMs: word.saidAtMs };
      const there = (atMs: number): number => atMs + CLOCK_OFFSET_MS;
      const said = { receivedBytes: word.bytes, receivedAtMs: there(times.receivedAtMs) };
      expect(estimator.arrived({ ...said, saidAtMs: there(times.saidAtMs) }, ms)).toBe(true);
    }
  }
  return estimator;
}

const ALL = (): number => Number.POSITIVE_INFINITY;

describe('the estimate of the link', () => {
  test('is unknown, and not 0, while nothing has been heard', () => {
    const estimator = new LinkEstimator(() => 0);
    expect(estimator.bandwidthBytesPerS).toBeUndefined();
    expect(estimator.roundTripMs).toBeUndefined();
    expect(estimator.leastRoundTripMs).toBeUndefined();
    expect(estimator.takeQueueMs()).toBeUndefined();
    expect(estimator.estimates).toEqual([]);
  });

  test.each([
    [100, 0],
    [1000, 2],
    [400, 40],
  ])('is what a link of %i Mbit/s carries, %i ms away', (mbit, oneWayMs) => {
    const { bandwidthBytesPerS } = simulate(
      { linkAt: () => mbit * MBIT_PER_MS, oneWayMs, sendAt: ALL },
      2000,
    );
    expect(bandwidthBytesPerS! / (mbit * MBIT_PER_MS * 1000)).toBeCloseTo(1, 1.5);
  });

  test.each([
    [1000, 100],
    [100, 1000],
    [400, 50],
  ])('follows a step from %i to %i Mbit/s within a second, to 5 %', (before, after) => {
    const linkAt = (ms: number): number => (ms < 2000 ? before : after) * MBIT_PER_MS;
    const { bandwidthBytesPerS } = simulate({ linkAt, oneWayMs: 1, sendAt: ALL }, 3000);
    expect(Math.abs(bandwidthBytesPerS! / (after * MBIT_PER_MS * 1000) - 1)).toBeLessThan(0.05);
  });

  test('is not made of the rate of a sender that sends less than the link carries', () => {
    const half = () => 500 * MBIT_PER_MS;
    const estimator = simulate({ linkAt: () => 1000 * MBIT_PER_MS, oneWayMs: 1, sendAt: half }, 2000);
    expect(estimator.bandwidthBytesPerS).toBeUndefined();
    expect(estimator.leastRoundTripMs).toBeGreaterThanOrEqual(2);
    expect(estimator.leastRoundTripMs).toBeLessThan(5);
  });

  test('comes from the time in which bytes waited, when a sender fell silent and began again', () => {
    const sendAt = (ms: number): number => (ms % 400 < 200 ? Number.POSITIVE_INFINITY : 0);
    const { bandwidthBytesPerS } = simulate({ linkAt: () => 200 * MBIT_PER_MS, oneWayMs: 1, sendAt }, 1990);
    expect(Math.abs(bandwidthBytesPerS! / (200 * MBIT_PER_MS * 1000) - 1)).toBeLessThan(0.05);
  });

  test('knows the way without the queue that the sender makes', () => {
    const estimator = simulate({ linkAt: () => 100 * MBIT_PER_MS, oneWayMs: 10, sendAt: ALL }, 2000);
    expect(estimator.leastRoundTripMs).toBeGreaterThanOrEqual(20);
    expect(estimator.leastRoundTripMs).toBeLessThan(35);
    expect(estimator.roundTripMs).toBeGreaterThan(200);
  });

  test('does not take the end of a round for the beginning of the next one', () => {
    let sent = 100;
    const estimator = new LinkEstimator(() => sent);
    estimator.sent(100, 10, 0);
    // ROUND_END, at 20 ms. It is heard of when the next round has begun.
    sent += 50;
    sent += 100;
    estimator.sent(100, 1000, 0);
    estimator.arrived({ receivedBytes: 150, receivedAtMs: 21, saidAtMs: 22 }, 1001);
    expect(estimator.leastRoundTripMs).toBeUndefined();
    estimator.arrived({ receivedBytes: 200, receivedAtMs: 1010, saidAtMs: 1011 }, 1012);
    expect(estimator.leastRoundTripMs).toBe(11);
  });

  test('refuses a destination that has more than was sent, or less than before', () => {
    const estimator = new LinkEstimator(() => 1000);
    const word = { receivedAtMs: 5, saidAtMs: 6 };
    expect(estimator.arrived({ receivedBytes: 1001, ...word }, 10)).toBe(false);
    expect(estimator.arrived({ receivedBytes: 1000, ...word }, 10)).toBe(true);
    expect(estimator.arrived({ receivedBytes: 999, ...word }, 11)).toBe(false);
    expect(estimator.arrived({ receivedBytes: 1000, receivedAtMs: 4, saidAtMs: 6 }, 11)).toBe(false);
  });

  test('goes into the report a bounded number of times, however long it takes', () => {
    const estimator = new LinkEstimator(() => 1e9);
    for (let ms = 0; ms < 600_000; ms += 50) {
      estimator.arrived({ receivedBytes: ms, receivedAtMs: ms, saidAtMs: ms }, ms);
    }
    expect(estimator.estimates.length).toBeLessThanOrEqual(MOVER_LIMITS.estimatesMax);
    expect(estimator.estimates.length).toBeGreaterThan(MOVER_LIMITS.estimatesMax / 3);
    expect(estimator.estimates.at(-1)!.atMs).toBeGreaterThan(595_000);
  });

  test('decides about the downtime in place of what a round was given, and only where it is known', () => {
    const link: { bandwidthBytesPerS: number | undefined } = { bandwidthBytesPerS: undefined };
    const estimates = new Estimates(link);
    expect(estimates.bandwidthBytesPerS).toBe(0);
    // A round that lasted 2 s, the link ten times slower in its second half.
    estimates.addRound(4096 * 11_000, 2000, 100, 11_000);
    expect(estimates.expectedDowntimeMs(500)).toBeLessThan(100);
    link.bandwidthBytesPerS = 4096 * 1000;
    expect(estimates.expectedDowntimeMs(500)).toBe(500);
  });
});
