/**
 * Goal: predictions keep the laws that hold for every guest and link. Method: random guests, links and samples;
 * formulas against each other, against simulated writes, and against the replay of the engine's rounds.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { firstCalibration } from '../../predict/calibration.ts';
import { postCopy } from '../../predict/closed-forms/postcopy.ts';
import {
  fixedPoint,
  geometricRounds,
  outcomeOf,
  type PageClass,
  stopAndCopy,
  uniquePages,
} from '../../predict/closed-forms/precopy.ts';
import { dirtyCurve } from '../../predict/dirty-curve.ts';
import { predictTechnique } from '../../predict/predictor.ts';
import { replayRounds } from '../../predict/round-loop.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import { TECHNIQUES } from '../../proto/names.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { Random } from '../../workloads/random.ts';

const memory = fc.integer({ min: 256, max: 1_000_000 });
const rate = fc.integer({ min: 100, max: 1_000_000 });
const pageClass = fc.record({
  pages: fc.integer({ min: 1, max: 50_000 }),
  writesPerS: fc.integer({ min: 0, max: 100_000 }),
});
const classes = fc.array(pageClass, { minLength: 1, maxLength: 3 });
const UNIT = 2 ** -32;

function curveOf(all: readonly PageClass[], pageCount: number, probedMs: number) {
  const samples = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1].map((share) => {
    const ms = probedMs * share;
    return { ms, dirtyPages: Math.min(pageCount, uniquePages(all, ms / 1000)) };
  });
  return { samples, curve: dirtyCurve(samples, pageCount) };
}

function probedOf(pageCount: number, bytesPerS: number, all: readonly PageClass[]) {
  return {
    pageCount,
    zeroShare: 0.1,
    compressedShare: 0.5,
    deviceStateBytes: 65_536,
    written: curveOf(all, pageCount, 500).curve,
    accessedPerWritten: 1,
    busyShare: 0.1,
    bytesPerS,
    roundTripMs: 1,
    bandwidthError: 0.02,
  };
}

describe('closed forms', () => {
  test('pause for longer on a slower link and with a guest that writes more, after as many rounds', () => {
    fc.assert(
      fc.property(memory, rate, rate, fc.integer({ min: 0, max: 10 }), (pages, link, dirty, rounds) => {
        const downtime = (by: number, of: number) =>
          outcomeOf(geometricRounds(pages, by, of, rounds), by).downtimeS;
        expect(downtime(link * 2, dirty)).toBeLessThanOrEqual(downtime(link, dirty));
        expect(downtime(link, dirty * 2)).toBeGreaterThanOrEqual(downtime(link, dirty));
      }),
    );
  });

  test('never pause for less than the state takes', () => {
    fc.assert(
      fc.property(memory, rate, fc.integer({ min: 1, max: 1000 }), (pages, link, state) => {
        const least = state / link;
        expect(stopAndCopy(pages, state, link).downtimeS).toBeGreaterThanOrEqual(least);
        expect(outcomeOf([pages, 0], link, state).downtimeS).toBeGreaterThanOrEqual(least);
        expect(postCopy(pages, state, link).downtimeS).toBeGreaterThanOrEqual(least);
      }),
    );
  });

  test('have a fixed point that a further round leaves where it is', () => {
    fc.assert(
      fc.property(memory, rate, classes, (pages, link, all) => {
        const dirty = (seconds: number) => Math.min(pages, uniquePages(all, seconds));
        const size = fixedPoint(pages, link, dirty);
        expect(Math.abs(dirty(size / link) - size)).toBeLessThanOrEqual(1e-3 * pages);
      }),
    );
  });

  test('count distinct pages as random writes do, within four standard deviations', () => {
    const chance = new Random(3n, 0);
    const small = fc.record({
      pages: fc.integer({ min: 100, max: 2000 }),
      writesPerS: fc.integer({ min: 100, max: 20_000 }),
    });
    fc.assert(
      fc.property(small, fc.double({ min: 0.01, max: 1, noNaN: true }), ({ pages, writesPerS }, seconds) => {
        const written = new Set<number>();
        const writes = Math.round(writesPerS * seconds);
        for (let write = 0; write < writes; write++) written.add(Math.floor(chance.next() * UNIT * pages));
        const share = -Math.expm1(-writes / pages);
        const deviation = Math.sqrt(pages * share * (1 - share)) + 1;
        const formula = uniquePages([{ pages, writesPerS }], writes / writesPerS);
        expect(Math.abs(written.size - formula)).toBeLessThanOrEqual(4 * deviation);
      }),
      { seed: 11, numRuns: 60 },
    );
  });
});

describe('a curve of dirty pages', () => {
  test('goes through its samples, never falls and never exceeds the memory', () => {
    fc.assert(
      fc.property(classes, memory, fc.integer({ min: 10, max: 2000 }), (all, pageCount, probedMs) => {
        const { samples, curve } = curveOf(all, pageCount, probedMs);
        for (const { ms, dirtyPages } of samples) {
          expect(Math.abs(curve.pagesAfter(ms) - dirtyPages)).toBeLessThanOrEqual(1e-6 * pageCount);
        }
        let before = 0;
        for (let ms = 0; ms <= probedMs * 20; ms += probedMs / 7) {
          const pages = curve.pagesAfter(ms);
          expect(pages).toBeGreaterThanOrEqual(before - 1e-6);
          expect(pages).toBeLessThanOrEqual(pageCount);
          before = pages;
        }
      }),
    );
  });

  test('of one or two classes is right at four times its samples, as far as it says that it is, 19 times of 20', () => {
    const two = fc.array(pageClass, { minLength: 1, maxLength: 2 });
    const guests = fc.sample(two, { numRuns: 200, seed: 5 });
    const wrong = guests.filter((all) => {
      const { curve } = curveOf(all, 1_000_000, 500);
      const wanted = uniquePages(all, 2);
      return Math.abs(curve.pagesAfter(2000) - wanted) > Math.max(2, wanted * curve.errorShare(2000));
    });
    expect(wrong.length).toBeLessThanOrEqual(guests.length / 20);
  });
});

describe('replayed rounds', () => {
  test('are the geometric series when every write goes to a page of its own', () => {
    fc.assert(
      fc.property(
        memory,
        rate,
        fc.double({ min: 0.01, max: 0.9, noNaN: true }),
        (pageCount, pages, share) => {
          const replay = replayRounds(
            {
              pageCount,
              zeroPages: 0,
              wirePageBytes: PAGE_BYTES,
              wireZeroBytes: 0,
              bytesPerS: pages * PAGE_BYTES,
              roundMs: 0,
              dirtyAfter: (ms) => (pages * share * ms) / 1000,
              startMs: 0,
            },
            {
              ...defaultMigrationOptions('pre-copy'),
              downtimeLimitMs: 0,
              maxRounds: 6,
              totalTimeLimitMs: Number.MAX_SAFE_INTEGER,
            },
          );
          const series = geometricRounds(pageCount, pages, pages * share, replay.rounds.length);
          for (const [round, { pages: sent }] of replay.rounds.entries()) {
            expect(Math.abs(sent - series[round]!)).toBeLessThanOrEqual(1e-6 * pageCount);
          }
        },
      ),
    );
  });

  test('end, whatever the guest writes: within the rounds and the time that are allowed', () => {
    const limits = fc.record({
      maxRounds: fc.integer({ min: 1, max: 100 }),
      totalTimeLimitMs: fc.integer({ min: 1, max: 10_000 }),
    });
    fc.assert(
      fc.property(memory, rate, classes, limits, (pageCount, pages, all, limit) => {
        const options = { ...defaultMigrationOptions('pre-copy'), ...limit };
        const replay = replayRounds(
          {
            pageCount,
            zeroPages: 0,
            wirePageBytes: PAGE_BYTES,
            wireZeroBytes: 0,
            bytesPerS: pages * PAGE_BYTES,
            roundMs: 1,
            dirtyAfter: (ms) => Math.min(pageCount, uniquePages(all, ms / 1000)),
            startMs: 0,
          },
          options,
        );
        expect(replay.rounds.length).toBeLessThanOrEqual(limit.maxRounds);
        expect(replay.durationMs).toBeLessThanOrEqual(limit.totalTimeLimitMs + 1);
        expect(['converged', 'max-rounds', 'total-time-limit']).toContain(replay.convergence);
      }),
    );
  });
});

test('every predicted value lies within its band, which is never empty', () => {
  const technique = fc.constantFrom(...TECHNIQUES);
  const link = fc.integer({ min: 1_000_000, max: 2_000_000_000 });
  fc.assert(
    fc.property(technique, memory, link, classes, (name, pageCount, bytesPerS, all) => {
      const probed = probedOf(pageCount, bytesPerS, all);
      const found = predictTechnique(probed, defaultMigrationOptions(name), firstCalibration());
      const values = [found.totalTimeMs, found.downtimeMs, found.transferredBytes, found.degradationPercent];
      for (const value of values) {
        expect(value!.low).toBeLessThanOrEqual(value!.value);
        expect(value!.high).toBeGreaterThanOrEqual(value!.value);
        expect(value!.high).toBeGreaterThan(value!.low);
      }
      expect(found.totalTimeMs!.value).toBeGreaterThanOrEqual(found.downtimeMs!.value);
    }),
  );
});

test('a band is no narrower the farther off single migrations were that taught it', () => {
  const first = firstCalibration();
  const highs = [0.1, 0.5, 0.9, 1, 2].map((spread) => {
    const link = { value: 1, spread };
    const calibration = { ...first, 'stop-and-copy': { ...first['stop-and-copy'], link } };
    const probed = probedOf(4096, 100_000_000, []);
    const { totalTimeMs } = predictTechnique(probed, defaultMigrationOptions('stop-and-copy'), calibration);
    return totalTimeMs!.high;
  });
  expect(highs).toEqual(highs.toSorted((a, b) => a - b));
  expect(highs.at(-1)).toBeLessThan(Number.POSITIVE_INFINITY);
});
