/** The push's window over a simulated link: it must keep the link busy, and the queue before it short. */

import { describe, expect, it } from 'vitest';
import { MOVER_LIMITS } from '../../../hosts/migration/limits.ts';
import { PushWindow } from '../../../hosts/migration/push-window.ts';

const FRAME_BYTES = 128 * 1024;
const { pushWindowBytesMin: MIN, pushWindowPeriodMs: PERIOD_MS } = MOVER_LIMITS;

interface Link {
  readonly bytesPerMs: number;
  readonly roundTripMs: number;
}

/**
 * Pushes for so long over a link that carries one frame after the other and takes a round trip more until the sender
 * hears of it. Answers what was placed in each ms, and how much was queued before the link then.
 */
function push(linkAt: (ms: number) => Link, durationMs: number): { placed: number[]; queued: number[] } {
  const window = new PushWindow();
  const onItsWay: { readonly heardAtMs: number; readonly leavesAtMs: number }[] = [];
  const placed: number[] = [];
  const queued: number[] = [];
  let freeAtMs = 0;
  for (let ms = 1; ms <= durationMs; ms++) {
    const { bytesPerMs, roundTripMs } = linkAt(ms);
    let heard = 0;
    while (onItsWay[0] !== undefined && onItsWay[0].heardAtMs <= ms) {
      onItsWay.shift();
      expect(window.placed(FRAME_BYTES, ms)).toBe(true);
      heard += FRAME_BYTES;
    }
    placed.push(heard);
    while (!window.isFull) {
      window.sent(FRAME_BYTES, ms);
      freeAtMs = Math.max(freeAtMs, ms) + FRAME_BYTES / bytesPerMs;
      onItsWay.push({ leavesAtMs: freeAtMs, heardAtMs: freeAtMs + roundTripMs });
    }
    queued.push(onItsWay.filter(({ leavesAtMs }) => leavesAtMs > ms).length * FRAME_BYTES);
  }
  return { placed, queued };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

describe('the window of the push', () => {
  it.each([
    ['a local network', { bytesPerMs: 125_000, roundTripMs: 1 }],
    ['two sites', { bytesPerMs: 12_500, roundTripMs: 80 }],
    ['two continents', { bytesPerMs: 125_000, roundTripMs: 200 }],
  ])('keeps the link of %s busy with a short queue', (_, link) => {
    const { placed, queued } = push(() => link, 4000);
    // The clock ticks in ms, and a frame is only heard of when it has passed.
    const productBytes = link.bytesPerMs * (link.roundTripMs + 2) + FRAME_BYTES;
    // Of the second half, when it has found out about the link.
    expect(sum(placed.slice(2000)) / (2000 * link.bytesPerMs)).toBeGreaterThan(0.95);
    expect(Math.max(...queued)).toBeLessThanOrEqual(1.1 * Math.max(MIN, 4 * productBytes) + FRAME_BYTES);
  });

  it('finds out that the link has become slower, and that it has become longer', () => {
    const before = { bytesPerMs: 125_000, roundTripMs: 20 };
    const slower = { bytesPerMs: 12_500, roundTripMs: 20 };
    const change = (after: Link) => (ms: number) => (ms < PERIOD_MS ? before : after);
    const { queued } = push(change(slower), 4 * PERIOD_MS);
    expect(Math.max(...queued.slice(-1000))).toBeLessThanOrEqual(
      1.1 * Math.max(MIN, 4 * slower.bytesPerMs * (slower.roundTripMs + 12)) + FRAME_BYTES,
    );
    const longer = { bytesPerMs: 125_000, roundTripMs: 100 };
    const { placed } = push(change(longer), 4 * PERIOD_MS);
    expect(sum(placed.slice(-1000)) / (1000 * longer.bytesPerMs)).toBeGreaterThan(0.9);
  });

  it('stays while demanded pages do not wait, whatever single ones do, and shrinks when all of them do', () => {
    const window = new PushWindow();
    const demand = (waits: readonly number[], times: number): number => {
      for (let time = 0; time < times; time++) for (const ms of waits) window.waited(ms);
      return window.limitBytes;
    };
    const { pushSpareBytesMax } = MOVER_LIMITS;
    expect(window.limitBytes).toBe(pushSpareBytesMax);
    expect(demand([0.2, 9, 9, 9], 20)).toBe(pushSpareBytesMax);
    expect(demand([2], 80)).toBe(MIN);
    expect(demand([0.3], 80)).toBe(pushSpareBytesMax);
  });

  it('takes no word for more than was sent', () => {
    const window = new PushWindow();
    window.sent(FRAME_BYTES, 1);
    expect(window.placed(FRAME_BYTES, 2)).toBe(true);
    expect(window.placed(1, 3)).toBe(false);
  });
});
