/** What a benchmark answers: rows of one measure each, with its spread, its target and, where there is one, a peer. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

export interface Row {
  /** What was done, in words that can stand alone. */
  readonly work: string;
  readonly measure: string;
  readonly unit: string;
  readonly godwit: Spread;
  /** What it is compared with, and its value from the same run. */
  readonly peer?: string;
  readonly peer_value?: Spread;
  /** godwit / peer. */
  readonly ratio?: number;
  /** The greatest value (or ratio, when there is a peer) that meets the target. */
  readonly target: number;
  readonly met: boolean;
}

/** @throws Error when there are no values: a benchmark that measured nothing must not look like one that did. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('a benchmark gave no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, n: sorted.length };
}

/** A row whose median may be at most `target`. */
export function rowAtMost(
  about: Pick<Row, 'work' | 'measure' | 'unit'>,
  values: readonly number[],
  target: number,
): Row {
  const godwit = spreadOf(values);
  return { ...about, godwit, target, met: godwit.median <= target };
}

/** A row that compares two interleaved series: the ratio of their medians may be at most `target`. */
export function rowAgainst(
  about: Pick<Row, 'work' | 'measure' | 'unit'>,
  values: readonly number[],
  peer: { readonly name: string; readonly values: readonly number[] },
  target: number,
): Row {
  const godwit = spreadOf(values);
  const peerValue = spreadOf(peer.values);
  const ratio = godwit.median / peerValue.median;
  return { ...about, godwit, peer: peer.name, peer_value: peerValue, ratio, target, met: ratio <= target };
}
