/**
 * Goal: the closed forms give the numbers of the literature's test vectors. Each vector is quoted with the numbers that
 * it was published or derived with, and held to as many digits as it has.
 */

import { describe, expect, test } from 'vitest';
import { migrationJoules, payBackS, replication } from '../../../predict/closed-forms/costs.ts';
import {
  dedupRatio,
  deltaRatio,
  parallel,
  sequential,
  transformedRate,
} from '../../../predict/closed-forms/link.ts';
import { faultS, hybrid, networkFaults, postCopy, slowdown } from '../../../predict/closed-forms/postcopy.ts';
import {
  fixedPoint,
  geometricRounds,
  linearSaturating,
  outcomeOf,
  roundsTo,
  skipRound,
  stopAndCopy,
  throttleToConverge,
  uniquePages,
  uniqueRounds,
} from '../../../predict/closed-forms/precopy.ts';

/** 1 GiB on a gigabit link, in MiB and in pages. */
const MEMORY_MIB = 1024;
const RATE_MIB = 119.2;
const PAGES = 262_144;
const PAGES_PER_S = 30_515.2;
const HOT_AND_COLD = [
  { pages: 4096, writesPerS: 18_000 },
  { pages: 65_536, writesPerS: 2000 },
];

describe('stop-and-copy', () => {
  test('takes memory and state over the link, and all but its preparation is downtime', () => {
    const outcome = stopAndCopy(MEMORY_MIB, 8, RATE_MIB, { beforeS: 0.5, afterS: 0.25 });
    expect(outcome.sent).toBe(1032);
    expect(outcome.downtimeS).toBeCloseTo(1032 / RATE_MIB + 0.25, 12);
    expect(outcome.totalS - outcome.downtimeS).toBeCloseTo(0.5, 12);
  });
});

describe('pre-copy at a constant dirty rate', () => {
  const rounds = geometricRounds(MEMORY_MIB, RATE_MIB, 30, 5);

  test('has rounds that are a geometric series', () => {
    const published = [1024, 257.718, 64.862, 16.324, 4.108, 1.034];
    for (const [round, size] of published.entries()) expect(rounds[round]).toBeCloseTo(size, 3);
  });

  test('takes 1368.05 MiB, 11.477 s and a pause of 8.67 ms', () => {
    const { sent, totalS, downtimeS } = outcomeOf(rounds, RATE_MIB);
    expect(sent).toBeCloseTo(1368.05, 2);
    expect(totalS).toBeCloseTo(11.477, 3);
    expect(downtimeS * 1000).toBeCloseTo(8.67, 2);
  });

  test('needs 6 rounds to 1 MiB and 3 to what 300 ms carry', () => {
    expect(roundsTo(1, MEMORY_MIB, RATE_MIB, 30)).toBe(6);
    expect(roundsTo(RATE_MIB * 0.3, MEMORY_MIB, RATE_MIB, 30)).toBe(3);
  });

  test('never ends by itself at the rate of the link, and no round is larger than the memory', () => {
    expect(roundsTo(1, MEMORY_MIB, RATE_MIB, RATE_MIB)).toBe(Number.POSITIVE_INFINITY);
    expect(geometricRounds(MEMORY_MIB, RATE_MIB, 3 * RATE_MIB, 4)).toEqual(Array(5).fill(MEMORY_MIB));
  });

  test('needs a guest slowed by what it writes too much', () => {
    expect(throttleToConverge(100, 250)).toBeCloseTo(0.6, 12);
    expect(throttleToConverge(100, 100)).toBe(0);
  });
});

describe('pre-copy over distinct pages', () => {
  const one = (seconds: number) => uniquePages([{ pages: 20_000, writesPerS: 40_000 }], seconds);
  const two = (seconds: number) => uniquePages(HOT_AND_COLD, seconds);

  test('of one class shrinks slowly to its fixed point of 8668.4 pages', () => {
    const rounds = uniqueRounds(PAGES, PAGES_PER_S, one, 6).map(Math.round);
    expect(rounds).toEqual([262_144, 20_000, 14_608, 12_322, 11_082, 10_326, 9835]);
    expect(fixedPoint(PAGES, PAGES_PER_S, one)).toBeCloseTo(8668.4, 1);
  });

  test('of a hot and a cold class sends 291,627 pages in 9.557 s with a last round of 16.9 ms', () => {
    const rounds = uniqueRounds(PAGES, PAGES_PER_S, two, 6);
    expect(rounds.map(Math.round)).toEqual([262_144, 19_210, 5085, 2459, 1383, 830, 516]);
    const { sent, totalS, downtimeS } = outcomeOf(rounds, PAGES_PER_S);
    expect(Math.round(sent)).toBe(291_627);
    expect(totalS).toBeCloseTo(9.557, 3);
    expect(downtimeS * 1000).toBeCloseTo(16.9, 1);
  });

  test('comes to nothing when all classes together write no faster than is sent', () => {
    expect(fixedPoint(PAGES, PAGES_PER_S, two)).toBeLessThan(1);
  });

  test('of a writer that passes through its working set takes 10.252 s and a pause of 27.1 ms', () => {
    const dirty = (seconds: number) => linearSaturating(100, 60, seconds);
    const rounds = uniqueRounds(MEMORY_MIB, RATE_MIB, dirty, 6);
    for (const [round, size] of [1024, 100, 50.336, 25.337, 12.753, 6.419, 3.231].entries()) {
      expect(rounds[round]).toBeCloseTo(size, 3);
    }
    const { totalS, downtimeS } = outcomeOf(rounds, RATE_MIB);
    expect(totalS).toBeCloseTo(10.252, 3);
    expect(downtimeS * 1000).toBeCloseTo(27.1, 1);
  });

  test('with the skip technique sends 12,779.8 of 20,000 pages in 0.4188 s', () => {
    const { seconds, sent } = skipRound(20_000, 2, PAGES_PER_S);
    expect(seconds).toBeCloseTo(0.4188, 4);
    expect(sent).toBeCloseTo(12_779.8, 1);
    expect(skipRound(20_000, 0, PAGES_PER_S).sent).toBe(20_000);
  });
});

describe('post-copy', () => {
  test('waits for 12,258.7 of 65,536 pages that are touched 0.05 times a second in 8.5906 s', () => {
    expect(networkFaults(65_536, 0.05, 8.5906)).toBeCloseTo(12_258.7, 1);
    expect(networkFaults(65_536, 0, 8.5906)).toBe(0);
  });

  test('takes the state in the pause and each page once', () => {
    const { sentBytes, totalS, downtimeS, pushS } = postCopy(1_000_000, 1000, 100_000, 0.002);
    expect(sentBytes).toBe(1_001_000);
    expect(downtimeS).toBeCloseTo(0.012, 12);
    expect(pushS).toBe(10);
    expect(totalS).toBeCloseTo(10.012, 12);
  });

  test('slows the guest by its faults, each a round trip, a page and its handling', () => {
    const costS = faultS(0.001, 4096, 4_096_000, 0.0005);
    expect(costS).toBeCloseTo(0.0025, 12);
    expect(slowdown(1000, costS, 10)).toBeCloseTo(0.25, 12);
    expect(slowdown(1_000_000, costS, 10)).toBe(1);
  });
});

test('hybrid after one round of the hot and cold guest misses 19,210 pages and takes 9.220 s', () => {
  const two = (seconds: number) => uniquePages(HOT_AND_COLD, seconds);
  const rounds = uniqueRounds(PAGES, PAGES_PER_S, two, 1);
  expect(Math.round(rounds[1]!)).toBe(19_210);
  const bytesPerS = PAGES_PER_S * 4096;
  const { totalS, pushS, sentBytes } = hybrid(rounds, 4096, 0, bytesPerS);
  // Without its bitmap, which the vector leaves out.
  expect(totalS - PAGES / 8 / bytesPerS).toBeCloseTo(9.22, 3);
  expect((pushS * bytesPerS) / 2 ** 20).toBeCloseTo(75.04, 2);
  expect(sentBytes).toBeCloseTo((PAGES + rounds[1]!) * 4096 + PAGES / 8, 3);
});

describe('a transform', () => {
  test('makes the link faster up to its own speed', () => {
    expect(transformedRate(100, 0.5, 1000)).toBe(200);
    expect(transformedRate(100, 0.5, 150)).toBe(150);
  });

  test('leaves what its cache does not have, and of the rest what changed', () => {
    expect(deltaRatio(0.8, 0.1)).toBeCloseTo(0.28, 12);
    expect(dedupRatio(0.7, 20, 4096)).toBeCloseTo(0.70488, 5);
  });
});

describe('three guests on one link', () => {
  const crowd = { count: 3, memory: MEMORY_MIB, rate: RATE_MIB, dirtyRate: 10, threshold: 8 };

  test('one after the other take 28.12 s with pauses of 60.5 ms', () => {
    const { totalS, downtimeS } = sequential(crowd);
    expect(totalS).toBeCloseTo(28.12, 2);
    expect(downtimeS * 1000).toBeCloseTo(60.5, 1);
  });

  test('all at once take 34.40 s with pauses of 103.4 ms', () => {
    const { totalS, downtimeS } = parallel(crowd);
    expect(totalS).toBeCloseTo(34.4, 2);
    expect(downtimeS * 1000).toBeCloseTo(103.4, 1);
  });

  test('do not converge all at once when together they write faster than the link', () => {
    expect(() => parallel({ ...crowd, dirtyRate: 40 })).toThrow(/3 guests that dirty 40/);
  });
});

describe('what it costs', () => {
  test('to migrate 1000 MB is 532.2 J, which an empty host of 93.7 W has back in 5.7 s', () => {
    const joules = migrationJoules(1000);
    expect(joules).toBeCloseTo(532.2, 1);
    expect(payBackS(joules, 93.7)).toBeCloseTo(5.7, 1);
  });

  test('to replicate 1000 pages each 100 ms is a pause of 12 ms, and what the link cannot carry takes longer', () => {
    const epoch = { seconds: 0.1, dirtyPages: 1000, stopS: 0.002, copyPageS: 1e-5 };
    const fast = replication(epoch, 4096, 1e9, 0.001);
    expect(fast.pauseS).toBeCloseTo(0.012, 12);
    expect(fast.speed).toBeCloseTo(0.1 / 0.112, 12);
    expect(fast.outputDelayS).toBeCloseTo(0.05 + 0.004096 + 0.001, 12);
    const slow = replication(epoch, 4096, 20_480_000, 0.001);
    expect(slow.bytesPerS).toBeCloseTo(20_480_000, 3);
  });
});
