/**
 * What a benchmark answers: rows of one measure each, with its spread, its peer where there is one, and its
 * target. What could not be measured is a row too, with the reason.
 */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

/** What the median, or its ratio to the peer's when there is a peer, has to be. */
export type Target = { readonly at_most: number } | { readonly at_least: number };

/** What is measured, in words that can stand alone. */
export interface About {
  /** What was done. */
  readonly work: string;
  readonly measure: string;
  readonly unit: string;
}

export interface MeasuredRow extends About {
  readonly godwit: Spread;
  /** What it is compared with, and its value from the same run. */
  readonly peer: string | null;
  readonly peer_value: Spread | null;
  /** godwit / peer. */
  readonly ratio: number | null;
  /** null: a figure to watch, with no target. */
  readonly target: Target | null;
  readonly met: boolean | null;
}

export interface UnmeasuredRow extends About {
  readonly target: Target | null;
  readonly not_measured: string;
  /** Whether it is godwit that failed, and not a peer that is missing. */
  readonly failed: boolean;
}

export type Row = MeasuredRow | UnmeasuredRow;

/** What somebody measured, or why it did not. */
export type Outcome<Sample> =
  | { readonly name: string; readonly samples: readonly Sample[] }
  | { readonly name: string; readonly problem: string; readonly failed: boolean };

export interface Comparison {
  readonly peer?: Outcome<number>;
  readonly target?: Target;
}

/** @throws Error when there are no values: a benchmark that measured nothing must not look like one that did. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('a benchmark gave no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, n: sorted.length };
}

/** A row of godwit's values, alone or against a peer's from the same run. */
export function row(about: About, godwit: Outcome<number>, { peer, target }: Comparison = {}): Row {
  const found = { ...about, target: target ?? null };
  if ('problem' in godwit) return { ...found, not_measured: godwit.problem, failed: godwit.failed };
  const spread = spreadOf(godwit.samples);
  if (peer === undefined) {
    const met = target === undefined ? null : meets(spread.median, target);
    return { ...found, godwit: spread, peer: null, peer_value: null, ratio: null, met };
  }
  if ('problem' in peer) return { ...found, not_measured: peer.problem, failed: peer.failed };
  const peerSpread = spreadOf(peer.samples);
  const ratio = spread.median / peerSpread.median;
  const met = target === undefined ? null : meets(ratio, target);
  return { ...found, godwit: spread, peer: peer.name, peer_value: peerSpread, ratio, met };
}

function meets(value: number, target: Target): boolean {
  return 'at_most' in target ? value <= target.at_most : value >= target.at_least;
}

/** A row whose median may be at most `limit`. */
export function rowAtMost(about: About, values: readonly number[], limit: number): Row {
  return row(about, { name: 'godwit', samples: values }, { target: { at_most: limit } });
}

/** Whether a row says that godwit did something wrong: slower than its target is not wrong. */
export function hasFailed(found: Row): boolean {
  return 'failed' in found && found.failed;
}
