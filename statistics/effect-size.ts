/**
 * How much two samples differ, whatever their distribution: by how many units (Hodges and Lehmann), and how seldom
 * they overlap (Cliff). A test says whether there is a difference; these say whether it matters.
 */
import { quantile } from './quantiles.ts';

/**
 * Cliff's delta ("Dominance statistics", 1993): how much more often a value of `these` is above one of `those`
 * than below it, from -1 to 1. Null when there is nothing to compare.
 */
export function cliffsDelta(these: readonly number[], those: readonly number[]): number | null {
  if (these.length === 0 || those.length === 0) return null;
  const sorted = Float64Array.from(those).sort();
  let dominance = 0;
  for (const value of these) {
    dominance += countBelow(sorted, value, false) + countBelow(sorted, value, true) - sorted.length;
  }
  return dominance / (these.length * those.length);
}

/** How many of the sorted values are below a value, or equal to it too. */
function countBelow(sorted: Float64Array, value: number, equalToo: boolean): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    const isBelow = equalToo ? sorted[middle]! <= value : sorted[middle]! < value;
    if (isBelow) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** The words of Romano et al. (2006) for Cliff's delta. */
export function magnitudeOf(delta: number): 'negligible' | 'small' | 'medium' | 'large' {
  const size = Math.abs(delta);
  if (size < 0.147) return 'negligible';
  if (size < 0.33) return 'small';
  return size < 0.474 ? 'medium' : 'large';
}

/**
 * The Hodges-Lehmann estimate of a sample's middle ("Estimates of location based on rank tests", 1963): the median
 * of the means of all its pairs, each value with itself too. Of differences it is the shift. Null of no values.
 */
export function hodgesLehmann(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  return quantile(walshAverages(values), 0.5);
}

/** The means of all pairs of values, each value with itself too, ascending: n (n + 1) / 2 of them. */
export function walshAverages(values: readonly number[]): Float64Array {
  const averages = new Float64Array((values.length * (values.length + 1)) / 2);
  let at = 0;
  for (let first = 0; first < values.length; first++) {
    for (let second = first; second < values.length; second++) {
      averages[at++] = (values[first]! + values[second]!) / 2;
    }
  }
  return averages.sort();
}
