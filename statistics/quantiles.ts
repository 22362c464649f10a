/**
 * Where the values of a sample lie: its median and quartiles, and which values lie far out. Outliers are named so
 * that a figure can show them; nothing here drops one.
 */

/** Tukey, Exploratory Data Analysis, 1977: so many times the distance of the quartiles away from them. */
const FENCE_FACTOR = 1.5;

export interface Spread {
  /** How many values there are. */
  readonly n: number;
  readonly min: number;
  /** The lower quartile, the median and the upper quartile. */
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
  readonly max: number;
  /** The least and the greatest value within Tukey's fences. */
  readonly whiskers: readonly [number, number];
  /** Values outside of the fences, ascending. */
  readonly outliers: readonly number[];
}

/**
 * The value below which a share of the sample lies, by linear interpolation between the two nearest values (type 7 of
 * Hyndman and Fan, "Sample quantiles in statistical packages", 1996: the default of R and NumPy).
 *
 * @param sorted ascending, not empty.
 * @param share from 0 to 1.
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = Math.floor(place);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (place - below);
}

/** Half of the values are not above it; null of no values. */
export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  return quantile(Float64Array.from(values).sort(), 0.5);
}

/** Null of no values; then there is nothing to say. */
export function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const q1 = quantile(sorted, 0.25);
  const q3 = quantile(sorted, 0.75);
  const reach = (q3 - q1) * FENCE_FACTOR;
  const inside = sorted.filter((value) => value >= q1 - reach && value <= q3 + reach);
  return {
    n: sorted.length,
    min: sorted[0]!,
    q1,
    median: quantile(sorted, 0.5),
    q3,
    max: sorted.at(-1)!,
    // Rounding may leave a sample of equal values without any within its fences.
    whiskers: [inside[0] ?? q1, inside.at(-1) ?? q3],
    outliers: [...sorted].filter((value) => value < q1 - reach || value > q3 + reach),
  };
}
