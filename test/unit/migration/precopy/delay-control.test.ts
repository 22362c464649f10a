/**
 * The delay rule over a simulated link in virtual time: others keep what they had, the migration gets the rest, and
 * neither a link that changes nor a thread that stands still keeps it from that.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DELAY_RULE,
  DelayControl,
} from '../../../../hosts/migration/precopy/bandwidth-rules/delay-control.ts';

const TICK_MS = 5;
const MBIT = 125_000;

interface World {
  /** What the link carries, and what others offer it. */
  readonly link: (ms: number) => number;
  readonly others: (ms: number) => number;
  readonly roundTripMs: number;
  readonly maxBytesPerS?: number;
}

interface Seen {
  readonly ms: number;
  readonly bytesPerS: number;
  readonly queueMs: number;
}

/** A queue that both fill and that is emptied in its order; what is seen of it comes a way there and back late. */
function simulate({ link, others, roundTripMs, maxBytesPerS = 0 }: World, durationMs: number): Seen[] {
  const control = new DelayControl(maxBytesPerS);
  const seen: Seen[] = [];
  let queueBytes = 0;
  const delayTicks = Math.ceil(roundTripMs / TICK_MS);
  for (let ms = 0; ms < durationMs; ms += TICK_MS) {
    const { bytesPerS } = control;
    const carried = link(ms);
    queueBytes = Math.max(queueBytes + ((bytesPerS + others(ms) - carried) * TICK_MS) / 1000, 0);
    seen.push({ ms, bytesPerS, queueMs: (queueBytes / carried) * 1000 });
    if (!control.isDue(ms)) continue;
    const upTo = seen.length - delayTicks;
    const last = seen.slice(Math.max(upTo - 10, 0), Math.max(upTo, 0));
    const window = seen.slice(Math.max(upTo - 80, 0), Math.max(upTo, 0));
    const busy = window.filter((one) => one.queueMs >= DELAY_RULE.queuedMs);
    const rest = (one: Seen): number => Math.max(link(one.ms) - others(one.ms), 0);
    const mean = (ones: readonly Seen[], of: (one: Seen) => number): number | undefined =>
      ones.length === 0 ? undefined : ones.reduce((sum, one) => sum + of(one), 0) / ones.length;
    control.step({
      nowMs: ms,
      queueMs: last.length === 0 ? undefined : Math.min(...last.map((one) => one.queueMs)),
      bandwidthBytesPerS: busy.length < 8 ? undefined : mean(busy, rest),
      arrivedBytesPerS: mean(last, (one) => (one.queueMs > 0 ? rest(one) : one.bytesPerS)),
      roundTripMs,
    });
  }
  return seen;
}

const worlds = fc.record({
  linkMbit: fc.integer({ min: 50, max: 10_000 }),
  share: fc.double({ min: 0, max: 0.8, noNaN: true }),
  roundTripMs: fc.integer({ min: 0, max: 80 }),
});

describe('the delay rule', () => {
  test('gives the migration what others leave, and makes nobody wait for long', () => {
    fc.assert(
      fc.property(worlds, ({ linkMbit, share, roundTripMs }) => {
        const link = linkMbit * MBIT;
        const world = { link: () => link, others: () => link * share, roundTripMs };
        // What it takes at first may be too much for a slow link; and each step waits for a way there and back.
        const steady = simulate(world, 20_000).filter(({ ms }) => ms > 6000);
        const mean = steady.reduce((sum, { bytesPerS }) => sum + bytesPerS, 0) / steady.length;
        expect(mean / (link * (1 - share))).toBeGreaterThan(0.85);
        expect(mean / (link * (1 - share))).toBeLessThan(1.01);
        const queues = steady.map(({ queueMs }) => queueMs).sort((a, b) => a - b);
        expect(queues[Math.floor(queues.length / 2)]).toBeLessThan(3 * DELAY_RULE.targetMs + roundTripMs / 2);
      }),
      { numRuns: 60 },
    );
  });

  test('takes no more than max-bandwidth, and does not starve itself where others fill every queue', () => {
    fc.assert(
      fc.property(worlds, ({ linkMbit, roundTripMs }) => {
        const link = linkMbit * MBIT;
        const max = link / 3;
        const idle = { link: () => link, others: () => 0, roundTripMs, maxBytesPerS: max };
        for (const { bytesPerS } of simulate(idle, 4000)) expect(bytesPerS).toBeLessThanOrEqual(max);
        const crowded = { link: () => link, others: (ms: number) => (ms < 4000 ? 0 : link), roundTripMs };
        const last = simulate(crowded, 12_000).at(-1)!;
        expect(last.bytesPerS).toBeGreaterThan(0.02 * link);
      }),
      { numRuns: 30 },
    );
  });

  test('follows a link that becomes slower and fast again, within a second', () => {
    const link = (ms: number): number => (ms > 5000 && ms < 10_000 ? 100 : 1000) * MBIT;
    const seen = simulate({ link, others: () => 0, roundTripMs: 1 }, 15_000);
    const mean = (from: number, to: number): number => {
      const some = seen.filter(({ ms }) => ms >= from && ms < to);
      return some.reduce((sum, { bytesPerS }) => sum + bytesPerS, 0) / some.length / MBIT;
    };
    expect(mean(7000, 10_000)).toBeLessThan(105);
    expect(mean(7000, 10_000)).toBeGreaterThan(85);
    expect(mean(11_500, 15_000)).toBeGreaterThan(850);
  });

  test('a sender that had less to send than it might learns nothing from that', () => {
    const control = new DelayControl(0);
    for (let ms = 0; ms < 5000; ms += DELAY_RULE.stepMs) {
      const idle = { queueMs: 0, bandwidthBytesPerS: undefined, arrivedBytesPerS: 1000, roundTripMs: 1 };
      control.step({ nowMs: ms, ...idle });
    }
    expect(control.bytesPerS).toBeLessThanOrEqual(DELAY_RULE.startBytesPerS);
  });

  test('one look at a thread that did not run does not slow it', () => {
    const control = new DelayControl(0);
    const free = { bandwidthBytesPerS: undefined, roundTripMs: 1 };
    let before = control.bytesPerS;
    for (let step = 0; step < 40; step++) {
      const queueMs = step % 10 === 9 ? 100 : 1;
      control.step({ nowMs: step * 50, queueMs, arrivedBytesPerS: control.bytesPerS, ...free });
      expect(control.bytesPerS).toBeGreaterThanOrEqual(before);
      before = control.bytesPerS;
    }
  });
});
