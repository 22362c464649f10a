/**
 * Confidence intervals by the bootstrap (Efron, "Bootstrap methods: another look at the jackknife", 1979), the
 * percentile interval: the sample is drawn anew from itself many times, with replacement, and the middle 95 % of
 * what the statistic comes to is the interval. It asks nothing of the distribution. Seeded: the same values give
 * the same interval.
 *
 * Of few values it is too narrow: of 5, 95 % intervals of the median hold the true one in about 94 of 100 cases,
 * of 3 in 75.
 */
import { Random } from '../workloads/random.ts';
import { quantile } from './quantiles.ts';

/** Both ends, the lower one first. */
export type Interval = readonly [number, number];

export const CONFIDENCE = 0.95;

const RESAMPLES = 2000;
const SEED = 20_051n;

/** Of the median; null of less than two values, of which nothing can be said. */
export function medianInterval(values: readonly number[]): Interval | null {
  if (values.length < 2) return null;
  const draw = resampler(values, 0);
  return middleOf(Float64Array.from({ length: RESAMPLES }, () => quantile(draw(), 0.5)));
}

/**
 * Of the difference between the medians of two unpaired samples, `to` - `from`; null when one has less than two
 * values.
 */
export function differenceInterval(from: readonly number[], to: readonly number[]): Interval | null {
  return intervalOfTwo(from, to, (start, end) => end - start);
}

/**
 * Of that difference as a share of the first median: 0.1 is 10 % more. Null also when that median may be 0 or
 * less, of which there are no shares.
 */
export function changeInterval(from: readonly number[], to: readonly number[]): Interval | null {
  if (from.some((value) => value <= 0)) return null;
  return intervalOfTwo(from, to, (start, end) => end / start - 1);
}

function intervalOfTwo(
  from: readonly number[],
  to: readonly number[],
  compare: (start: number, end: number) => number,
): Interval | null {
  if (from.length < 2 || to.length < 2) return null;
  const drawFrom = resampler(from, 0);
  const drawTo = resampler(to, 1);
  return middleOf(
    Float64Array.from({ length: RESAMPLES }, () =>
      compare(quantile(drawFrom(), 0.5), quantile(drawTo(), 0.5)),
    ),
  );
}

/** Draws the sample anew with each call: sorted, and overwritten by the next call. */
function resampler(values: readonly number[], stream: number): () => Float64Array {
  const random = new Random(SEED, stream);
  const drawn = new Float64Array(values.length);
  return () => {
    for (let index = 0; index < drawn.length; index++) drawn[index] = values[random.below(values.length)]!;
    return drawn.sort();
  };
}

function middleOf(statistics: Float64Array): Interval {
  const outside = (1 - CONFIDENCE) / 2;
  const sorted = statistics.sort();
  return [quantile(sorted, outside), quantile(sorted, 1 - outside)];
}
