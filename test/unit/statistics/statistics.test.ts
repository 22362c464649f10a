/** The statistics against published vectors and other programs, and what must hold of any sample. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { changeInterval, medianInterval } from '../../../statistics/bootstrap.ts';
import { cliffsDelta, hodgesLehmann, magnitudeOf } from '../../../statistics/effect-size.ts';
import { median, spreadOf } from '../../../statistics/quantiles.ts';
import { holm, leastP, shiftInterval, signedRankTest } from '../../../statistics/wilcoxon.ts';
import { Random } from '../../../workloads/random.ts';

/** Hollander and Wolfe, Nonparametric Statistical Methods, 1973, table 3.1: the example of R's wilcox.test. */
const before = [1.83, 0.5, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.3];
const after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
const depression = before.map((value, index) => value - after[index]!);
/** Darwin's maize, from Fisher's The Design of Experiments, 1935: the example of SciPy's wilcoxon. */
const maize = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75];

const values = fc.array(fc.double({ min: 0.01, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 30 });
const whole = fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 12 });

describe('quantiles', () => {
  test("are those of R's and NumPy's default", () => {
    expect(spreadOf([10, 3, 2, 9, 4, 1, 8, 5, 7, 6])).toMatchObject({
      n: 10,
      q1: 3.25,
      median: 5.5,
      q3: 7.75,
    });
    expect(spreadOf([3.2, 1.1, 9.9, 4.4])?.q3).toBeCloseTo(5.775, 12);
  });

  test('take the mean of the two middle values of an even number as the median', () => {
    expect([median([3]), median([4, 1]), median([9, 1, 3, 4])]).toEqual([3, 2.5, 3.5]);
  });

  test('of nothing are nothing, not 0', () => {
    expect([spreadOf([]), median([]), medianInterval([]), hodgesLehmann([])]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });

  test('name what lies outside of the fences, and leave it in the sample', () => {
    const spread = spreadOf([10, 11, 12, 13, 14, 99]);
    expect(spread).toMatchObject({ n: 6, outliers: [99], whiskers: [10, 14], max: 99 });
  });

  test('stand in order, and every value is within the whiskers or an outlier', () => {
    fc.assert(
      fc.property(values, (sample) => {
        const { min, q1, median: middle, q3, max, whiskers, outliers } = spreadOf(sample)!;
        expect([min, q1, middle, q3, max]).toEqual([min, q1, middle, q3, max].toSorted((a, b) => a - b));
        const inside = sample.filter((value) => value >= whiskers[0] && value <= whiskers[1]);
        expect(inside.length + outliers.length).toBe(sample.length);
      }),
    );
  });
});

describe('the bootstrap', () => {
  test('gives the same interval for the same values, within the sample and around its median', () => {
    fc.assert(
      fc.property(values, (sample) => {
        const interval = medianInterval(sample)!;
        expect(medianInterval(sample)).toEqual(interval);
        expect(interval[0]).toBeGreaterThanOrEqual(Math.min(...sample));
        expect(interval[1]).toBeLessThanOrEqual(Math.max(...sample));
        expect(interval[0]).toBeLessThanOrEqual(median(sample)!);
        expect(interval[1]).toBeGreaterThanOrEqual(median(sample)!);
      }),
      { numRuns: 20 },
    );
  });

  test('holds the true median in about 95 of 100 samples', () => {
    const random = new Random(7n, 0);
    const samples = Array.from({ length: 200 }, () =>
      Array.from({ length: 21 }, () => -Math.log(1 - random.fraction())),
    );
    const holding = samples.filter((sample) => {
      const [from, to] = medianInterval(sample)!;
      return from <= Math.LN2 && Math.LN2 <= to;
    });
    expect(holding.length / samples.length).toBeGreaterThan(0.89);
    expect(holding.length / samples.length).toBeLessThan(0.99);
  });

  test('of a change says by which share the second sample is above the first', () => {
    const from = [100, 101, 99, 100, 102, 98, 100];
    const [low, high] = changeInterval(
      from,
      from.map((value) => value * 1.2),
    )!;
    expect(low).toBeGreaterThan(0.15);
    expect(low).toBeLessThanOrEqual(0.2);
    expect(high).toBeGreaterThanOrEqual(0.2);
    expect(high).toBeLessThan(0.25);
  });

  test('says nothing of the share of a start that may be 0', () => {
    expect(changeInterval([0, 0, 5], [1, 2, 3])).toBeNull();
  });
});

describe("Wilcoxon's signed-rank test", () => {
  test('gives the published outcome of the depression scores', () => {
    const outcome = signedRankTest(depression)!;
    expect(outcome).toMatchObject({ n: 9, positiveRanks: 40 });
    expect(outcome.p).toBeCloseTo(0.0390625, 12);
  });

  test("gives the published outcome of Darwin's maize", () => {
    const outcome = signedRankTest(maize)!;
    expect(outcome.positiveRanks).toBe(96);
    expect(outcome.p).toBeCloseTo(0.041259765625, 12);
  });

  test('is exact with ties: what counting all assignments of signs gives', () => {
    fc.assert(
      fc.property(whole, (differences) => {
        const outcome = signedRankTest(differences);
        const nonZero = differences.filter((difference) => difference !== 0);
        if (outcome === null) expect(nonZero).toEqual([]);
        else expect(outcome.p).toBeCloseTo(countedP(nonZero), 10);
      }),
      { numRuns: 40 },
    );
  });

  test('of many pairs gives what the normal approximation of SciPy gives', () => {
    const many = Array.from({ length: 100 }, (_, index) => ((index * 37) % 101) - 40);
    expect(signedRankTest(many)!.p).toBeCloseTo(0.00236474, 6);
  });

  test('cannot come below what so few pairs allow', () => {
    expect(signedRankTest([1, 2, 3, 4, 5])!.p).toBe(leastP(5));
    expect(shiftInterval([1, 2, 3, 4, 5])).toBeNull();
    expect(shiftInterval([1, 2, 3, 4, 5, 6])).toEqual([1, 6]);
  });

  test('refuses exactly the shifts outside of its interval', () => {
    const [from, to] = shiftInterval(depression)!;
    const pOf = (shift: number): number => signedRankTest(depression.map((each) => each - shift))!.p;
    expect(pOf(from + 1e-9)).toBeGreaterThan(0.05);
    expect(pOf(to - 1e-9)).toBeGreaterThan(0.05);
    expect(pOf(from - 1e-9)).toBeLessThanOrEqual(0.05);
    expect(pOf(to + 1e-9)).toBeLessThanOrEqual(0.05);
    expect(from).toBeLessThan(hodgesLehmann(depression)!);
    expect(to).toBeGreaterThan(hodgesLehmann(depression)!);
  });

  test("several tests are corrected as Holm's paper does", () => {
    expect(holm([0.01, 0.04, 0.03, 0.005]).map((p) => Number(p.toFixed(6)))).toEqual([
      0.03, 0.06, 0.06, 0.02,
    ]);
  });
});

describe('effect sizes', () => {
  test("Cliff's delta counts which pairs are above and which below", () => {
    expect(cliffsDelta([1, 2, 3], [2, 3, 4])).toBeCloseTo(-5 / 9, 12);
    expect(cliffsDelta([5, 6], [1, 2, 3])).toBe(1);
    expect(magnitudeOf(-5 / 9)).toBe('large');
  });

  test('turn their sign when the samples change places', () => {
    fc.assert(
      fc.property(values, values, (these, those) => {
        expect(cliffsDelta(these, those)).toBeCloseTo(-cliffsDelta(those, these)!, 12);
      }),
    );
  });

  test('Hodges and Lehmann find the published middle of the depression scores, and move with them', () => {
    expect(hodgesLehmann(depression)).toBeCloseTo(0.46, 12);
    expect(hodgesLehmann(depression.map((value) => value + 3))).toBeCloseTo(3.46, 12);
  });
});

/** The share of all assignments of signs whose rank sum is as far out, two-sided. */
function countedP(differences: readonly number[]): number {
  const sizes = differences.map(Math.abs);
  const ranks = sizes.map((size) => {
    const below = sizes.filter((other) => other < size).length;
    const equal = sizes.filter((other) => other === size).length;
    return below + (equal + 1) / 2;
  });
  const all = ranks.reduce((sum, rank) => sum + rank, 0);
  const found = ranks.reduce((sum, rank, index) => sum + (differences[index]! > 0 ? rank : 0), 0);
  const least = Math.min(found, all - found);
  let asFar = 0;
  for (let signs = 0; signs < 2 ** ranks.length; signs++) {
    const sum = ranks.reduce((total, rank, index) => total + ((signs >> index) & 1 ? rank : 0), 0);
    if (sum <= least) asFar++;
  }
  return Math.min(1, (2 * asFar) / 2 ** ranks.length);
}
