/**
 * The link's arithmetic under an injected clock: no pattern of arrivals, and no lateness of the thread, bends
 * its rate.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Lane, type Piece, pieceBytesAt, RateStage } from '../../../hosts/network/rate-stage.ts';

interface Sent {
  readonly id: number;
  readonly bytes: number;
  readonly readyMs: number;
  readonly departureMs: number;
}

type Numbered = Piece & { readonly id: number };

/** A stage that writes down what leaves it. */
function stageOf(rateBytesPerS: number, burstBytes: number) {
  const sent: Sent[] = [];
  const stage = new RateStage<Numbered>(({ id, bytes, readyMs }, departureMs) =>
    sent.push({ id, bytes, readyMs, departureMs }),
  );
  stage.setRate(rateBytesPerS, burstBytes, 0);
  return { stage, sent };
}

const arrivals = fc.array(
  fc.record({
    gapMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 20, noNaN: true })),
    bytes: fc.integer({ min: 1, max: 65_536 }),
    lane: fc.integer({ min: 0, max: 2 }),
  }),
  { minLength: 1, maxLength: 60 },
);
const rates = fc.integer({ min: 10_000, max: 250_000_000 });
const bursts = fc.constantFrom(0, 1, 10_000, 1_000_000);
const FAR_MS = 1e9;
const ROUNDING = 1e-6;

describe('a link of a certain rate', () => {
  test('lets through no more than its rate, its burst and the piece that is leaving, in any window', () => {
    fc.assert(
      fc.property(arrivals, rates, bursts, (pattern, rate, burst) => {
        const { stage, sent } = stageOf(rate, burst);
        const lanes = [new Lane<Numbered>(), new Lane<Numbered>(), new Lane<Numbered>()];
        let nowMs = 0;
        for (const [id, { gapMs, bytes, lane }] of pattern.entries()) {
          nowMs += gapMs;
          stage.enqueue(lanes[lane]!, { id, bytes, readyMs: nowMs });
          stage.advance(nowMs);
        }
        stage.advance(FAR_MS);
        expect(sent.length).toBe(pattern.length);
        for (let from = 0; from < sent.length; from++) {
          let bytes = 0;
          for (let to = from; to < sent.length; to++) {
            bytes += sent[to]!.bytes;
            const windowMs = sent[to]!.departureMs - sent[from]!.departureMs;
            const allowed = (windowMs * rate) / 1000 + burst + sent[from]!.bytes;
            expect(bytes).toBeLessThanOrEqual(allowed * (1 + ROUNDING) + 1);
          }
        }
      }),
    );
  });

  test('sends at the same times whether it is looked at always, late or only once', () => {
    fc.assert(
      fc.property(arrivals, rates, bursts, fc.array(fc.nat(50)), (pattern, rate, burst, looks) => {
        const run = (lookAtMs: readonly number[]) => {
          const { stage, sent } = stageOf(rate, burst);
          const lane = new Lane<Numbered>();
          let readyMs = 0;
          for (const [id, { gapMs, bytes }] of pattern.entries()) {
            readyMs += gapMs;
            stage.enqueue(lane, { id, bytes, readyMs });
          }
          for (const atMs of lookAtMs) stage.advance(atMs);
          stage.advance(FAR_MS);
          return sent;
        };
        const sorted = looks.toSorted((a, b) => a - b);
        expect(run(sorted)).toEqual(run([]));
      }),
    );
  });

  test('lets nothing leave before it is ready, and keeps the order of each flow', () => {
    fc.assert(
      fc.property(arrivals, rates, bursts, (pattern, rate, burst) => {
        const { stage, sent } = stageOf(rate, burst);
        const lanes = [new Lane<Numbered>(), new Lane<Numbered>(), new Lane<Numbered>()];
        let readyMs = 0;
        for (const [id, { gapMs, bytes, lane }] of pattern.entries()) {
          readyMs += gapMs;
          stage.enqueue(lanes[lane]!, { id, bytes, readyMs });
        }
        stage.advance(FAR_MS);
        for (const { departureMs, readyMs } of sent) expect(departureMs).toBeGreaterThanOrEqual(readyMs);
        for (const lane of [0, 1, 2]) {
          const ids = sent.map(({ id }) => id).filter((id) => pattern[id]!.lane === lane);
          expect(ids).toEqual(ids.toSorted((a, b) => a - b));
        }
      }),
    );
  });

  test('divides itself evenly by bytes among flows with pieces of different sizes', () => {
    const rate = 1_000_000;
    const { stage, sent } = stageOf(rate, 0);
    const [large, small] = [new Lane<Numbered>(), new Lane<Numbered>()];
    const smallBytes = 64;
    const largeBytes = pieceBytesAt(rate);
    for (let id = 0; id < 200; id++) stage.enqueue(large, { id: 0, bytes: largeBytes, readyMs: 0 });
    for (let id = 0; id < 20_000; id++) stage.enqueue(small, { id: 1, bytes: smallBytes, readyMs: 0 });
    stage.advance(100);
    const bytesOf = (id: number) =>
      sent.filter((piece) => piece.id === id).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(Math.abs(bytesOf(0) - bytesOf(1))).toBeLessThanOrEqual(2 * largeBytes);
  });

  test('that is first in, first out, makes everybody wait behind whoever was there before', () => {
    const { stage, sent } = stageOf(1000, 0);
    stage.setRate(1000, 0, 0, true);
    const [crowd, late] = [new Lane<Numbered>(), new Lane<Numbered>()];
    for (let id = 0; id < 10; id++) stage.enqueue(crowd, { id, bytes: 100, readyMs: id });
    stage.enqueue(late, { id: 10, bytes: 1, readyMs: 5.5 });
    stage.advance(FAR_MS);
    expect(sent.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 10, 6, 7, 8, 9]);
  });

  test('goes on at the new rate when it changes while a piece is being sent', () => {
    const { stage, sent } = stageOf(1000, 0);
    const lane = new Lane<Numbered>();
    stage.enqueue(lane, { id: 0, bytes: 1000, readyMs: 0 });
    stage.advance(500);
    stage.setRate(10_000, 0, 500);
    stage.advance(549);
    expect(sent).toEqual([]);
    stage.advance(551);
    expect(sent[0]!.departureMs).toBeCloseTo(550);
  });

  test('gives no credit for the time in which a flow was frozen', () => {
    const { stage, sent } = stageOf(1000, 0);
    const lane = new Lane<Numbered>();
    for (let id = 0; id < 3; id++) stage.enqueue(lane, { id, bytes: 100, readyMs: 0 });
    stage.advance(100);
    stage.freeze(lane, 150);
    stage.advance(5000);
    expect(sent.map(({ id }) => id)).toEqual([0]);
    stage.thaw(lane, 5000);
    stage.advance(6000);
    expect(sent.map(({ departureMs }) => departureMs)).toEqual([100, 5100, 5200]);
  });

  test('takes bytes in smaller pieces the slower it is', () => {
    fc.assert(
      fc.property(rates, rates, (a, b) => {
        const [slow, fast] = [Math.min(a, b), Math.max(a, b)];
        expect(pieceBytesAt(slow)).toBeLessThanOrEqual(pieceBytesAt(fast));
        expect(65_536 % pieceBytesAt(slow)).toBe(0);
      }),
    );
  });
});
