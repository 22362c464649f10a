/**
 * Wilcoxon's signed-rank test ("Individual comparisons by ranking methods", 1945): whether pairs of measurements
 * differ in one direction more than chance would have it. It asks nothing of the distribution but that differences
 * are symmetric around their middle. Exact up to 60 pairs, with ties too; by the normal approximation beyond.
 */
import { CONFIDENCE, type Interval } from './bootstrap.ts';
import { walshAverages } from './effect-size.ts';

export interface SignedRankTest {
  /** Pairs that differ; those without a difference say nothing, and are left out as Wilcoxon did. */
  readonly n: number;
  /** The sum of the ranks of the positive differences. */
  readonly positiveRanks: number;
  /** Two-sided: how likely so one-sided an outcome is, when there is no difference. */
  readonly p: number;
}

/** Up to so many pairs all 2^n outcomes are counted. */
const EXACT_MAX = 60;

/** Two-sided test of paired differences; null when no pair differs. */
export function signedRankTest(differences: readonly number[]): SignedRankTest | null {
  const nonZero = differences.filter((difference) => difference !== 0);
  const n = nonZero.length;
  if (n === 0) return null;
  const ranks = doubledRanks(nonZero.map(Math.abs));
  const sum = ranks.reduce((total, rank, index) => total + (nonZero[index]! > 0 ? rank : 0), 0);
  const p = n <= EXACT_MAX ? exactP(ranks, sum) : normalP(ranks, sum);
  return { n, positiveRanks: sum / 2, p };
}

/** The least p that n pairs can come to: all differ in one direction. */
export function leastP(n: number): number {
  return 2 ** (1 - n);
}

/**
 * The confidence interval that belongs to the test (Hodges and Lehmann; Tukey): the shifts that it would not refuse.
 * Null where no such interval has 95 %, which takes 6 pairs.
 */
export function shiftInterval(differences: readonly number[]): Interval | null {
  const n = differences.length;
  if (leastP(n) > 1 - CONFIDENCE) return null;
  const averages = walshAverages(differences);
  const beyond = n <= EXACT_MAX ? exactBeyond(n) : normalBeyond(n);
  return [averages[beyond]!, averages[averages.length - 1 - beyond]!];
}

/** Twice the rank of each value, so that those of ties, which share their mean rank, are whole too. */
function doubledRanks(values: readonly number[]): number[] {
  const order = values.map((_, index) => index).sort((a, b) => values[a]! - values[b]!);
  const ranks = values.map(() => 0);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to + 1 < order.length && values[order[to + 1]!] === values[order[from]!]) to++;
    for (let at = from; at <= to; at++) ranks[order[at]!] = from + 1 + to + 1;
    from = to + 1;
  }
  return ranks;
}

/** How likely each sum is, when every rank is in it by the toss of a coin. */
function distribution(ranks: readonly number[]): Float64Array {
  const total = ranks.reduce((sum, rank) => sum + rank, 0);
  const likelihoods = new Float64Array(total + 1);
  likelihoods[0] = 1;
  let reached = 0;
  for (const rank of ranks) {
    reached += rank;
    for (let sum = reached; sum >= 0; sum--) {
      likelihoods[sum] = ((sum >= rank ? likelihoods[sum - rank]! : 0) + likelihoods[sum]!) / 2;
    }
  }
  return likelihoods;
}

function exactP(ranks: readonly number[], sum: number): number {
  const likelihoods = distribution(ranks);
  const least = Math.min(sum, likelihoods.length - 1 - sum);
  let tail = 0;
  for (let at = 0; at <= least; at++) tail += likelihoods[at]!;
  return Math.min(1, 2 * tail);
}

/** With the correction for continuity; ties are in the variance by themselves: it is the sum of squared ranks. */
function normalP(ranks: readonly number[], sum: number): number {
  const mean = ranks.reduce((total, rank) => total + rank, 0) / 2;
  const deviation = Math.sqrt(ranks.reduce((total, rank) => total + rank * rank, 0) / 4);
  const distance = Math.max(0, Math.abs(sum - mean) - 1);
  return Math.min(1, 2 * normalTail(distance / deviation));
}

/** How many averages at each end lie outside of the interval. */
function exactBeyond(n: number): number {
  const likelihoods = distribution(Array.from({ length: n }, (_, index) => index + 1));
  let tail = 0;
  let beyond = 0;
  while (tail + likelihoods[beyond]! <= (1 - CONFIDENCE) / 2) tail += likelihoods[beyond++]!;
  return Math.max(0, beyond - 1);
}

function normalBeyond(n: number): number {
  const mean = (n * (n + 1)) / 4;
  const deviation = Math.sqrt((n * (n + 1) * (2 * n + 1)) / 24);
  return Math.max(0, Math.floor(mean - 1.959964 * deviation) - 1);
}

/** The share of the normal distribution above z >= 0 (Abramowitz and Stegun, 26.2.17: to 7.5e-8). */
function normalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  const coefficients = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  return density * coefficients.reduceRight((sum, coefficient) => (sum + coefficient) * t, 0);
}

/**
 * Several tests at once find something by chance: Holm's correction ("A simple sequentially rejective multiple test
 * procedure", 1979) makes each p what it is among all of them. In the order of the given ones.
 */
export function holm(ps: readonly number[]): number[] {
  const order = ps.map((_, index) => index).sort((a, b) => ps[a]! - ps[b]!);
  const adjusted = ps.map(() => 0);
  let least = 0;
  for (const [place, index] of order.entries()) {
    least = Math.max(least, Math.min(1, ps[index]! * (ps.length - place)));
    adjusted[index] = least;
  }
  return adjusted;
}
