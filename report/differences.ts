/**
 * How two samples differ, in figures and in words. Within a study trials are paired: the same trial and guest
 * under another technique. Between two studies they are not.
 */
import {
  CONFIDENCE,
  changeInterval,
  differenceInterval,
  type Interval,
  medianInterval,
} from '../statistics/bootstrap.ts';
import { cliffsDelta, hodgesLehmann, magnitudeOf } from '../statistics/effect-size.ts';
import { median } from '../statistics/quantiles.ts';
import { holm, leastP, shiftInterval, signedRankTest } from '../statistics/wilcoxon.ts';
import { PAIRED_MAX } from './limits.ts';
import { MAIN_MEASURES, MEASURES, type Measure, valuesOf } from './measures.ts';
import { type Group, pairedDifferences, type Study, shownGroups } from './study.ts';

const SIGNIFICANT = 1 - CONFIDENCE;
const PERCENT = 100;

export interface PairedDifference {
  readonly measure: Measure;
  readonly first: Group;
  readonly second: Group;
  readonly pairs: number;
  /** `second` - `first`, by Hodges and Lehmann. */
  readonly shift: number;
  /** Null of fewer than 6 pairs. */
  readonly interval: Interval | null;
  readonly delta: number;
  /** Of the signed-rank test, by Holm among all pairs of this measure; null when no pair differs. */
  readonly p: number | null;
}

/** Each pair of groups, or each group with the first when there are many, by each of the main measures. */
export function pairedDifferencesOf(study: Study): PairedDifference[] {
  const groups = shownGroups(study);
  const pairs = groups.flatMap((second, index) => {
    const firsts = groups.length <= PAIRED_MAX ? groups.slice(0, index) : groups.slice(0, Math.min(index, 1));
    return firsts.map((first) => ({ first, second }));
  });
  return MAIN_MEASURES.flatMap((measure) => {
    const found = pairs.flatMap(({ first, second }) => pairedDifference(measure, first, second));
    const ps = holm(found.flatMap(({ p }) => p ?? []));
    let next = 0;
    return found.map((difference) =>
      difference.p === null ? difference : { ...difference, p: ps[next++]! },
    );
  });
}

function pairedDifference(measure: Measure, first: Group, second: Group): PairedDifference[] {
  const differences = pairedDifferences(first, second, measure.pick);
  const shift = hodgesLehmann(differences);
  const delta = cliffsDelta(valuesOf(second.trials, measure), valuesOf(first.trials, measure));
  if (shift === null || delta === null) return [];
  const interval = shiftInterval(differences);
  const p = signedRankTest(differences)?.p ?? null;
  return [{ measure, first, second, pairs: differences.length, shift, interval, delta, p }];
}

/** What the test of a pair says, in words. */
export function testText({ p, pairs, delta }: PairedDifference): string {
  const size = `${magnitudeOf(delta)} effect (Cliff's δ = ${delta.toFixed(2)})`;
  if (leastP(pairs) > SIGNIFICANT) return `${size}; ${pairs} pairs are too few for a test`;
  if (p === null) return 'no pair differs';
  if (p > SIGNIFICANT) return `${size}, which chance may explain: ${pText(p)}`;
  return `${size}, ${pText(p)}`;
}

export function pText(p: number): string {
  return p < 0.001 ? 'p < 0.001' : `p = ${p.toFixed(3)}`;
}

/** What became of one measure of one variant between two studies. */
export interface Change {
  readonly variant: string;
  readonly measure: Measure;
  readonly counts: readonly [number, number];
  readonly medians: readonly [number, number];
  readonly intervals: readonly [Interval | null, Interval | null];
  /** Of the medians: after - before, in the record's unit. */
  readonly difference: number;
  readonly differenceInterval: Interval | null;
  /** The same as a share of the first; null where there are no shares: of percents, and of what may be 0. */
  readonly change: number | null;
  readonly changeInterval: Interval | null;
  readonly delta: number;
  readonly verdict: Verdict;
}

export const VERDICT = {
  more: 'more',
  less: 'less',
  same: 'no difference shown',
  few: 'too few trials',
} as const;
export type Verdict = (typeof VERDICT)[keyof typeof VERDICT];

/** The variants that both studies have, in the order of the first, by each measure that both have. */
export function changesBetween(before: Study, after: Study): Change[] {
  return shownGroups(before).flatMap((first) => {
    const second = shownGroups(after).find(({ name }) => name === first.name);
    return second === undefined ? [] : MEASURES.flatMap((measure) => changeOf(measure, first, second));
  });
}

function changeOf(measure: Measure, first: Group, second: Group): Change[] {
  const from = valuesOf(first.trials, measure);
  const to = valuesOf(second.trials, measure);
  const medians = [median(from), median(to)] as const;
  const [start, end] = medians;
  // Nothing before and nothing after: a technique that never does it.
  if ([...from, ...to].every((value) => value === 0)) return [];
  const delta = cliffsDelta(to, from);
  if (start === null || end === null || delta === null) return [];
  const interval = differenceInterval(from, to);
  const isShare = measure.kind !== 'percent' && from.every((value) => value > 0);
  return [
    {
      ...{ variant: first.name, measure, delta },
      counts: [from.length, to.length],
      medians: [start, end],
      intervals: [medianInterval(from), medianInterval(to)],
      difference: end - start,
      differenceInterval: interval,
      change: isShare ? end / start - 1 : null,
      changeInterval: isShare ? changeInterval(from, to) : null,
      verdict: verdictOf(interval),
    },
  ];
}

/** There is a difference when its interval leaves out 0. */
function verdictOf(interval: Interval | null): Verdict {
  if (interval === null) return VERDICT.few;
  if (interval[0] > 0) return VERDICT.more;
  return interval[1] < 0 ? VERDICT.less : VERDICT.same;
}

/** A change in words, such as "18 % longer downtime, CI 10..25 %, n=9/9". */
export function verdictText(found: Change): string {
  const { measure, difference, counts, verdict } = found;
  const n = `n=${counts[0]}/${counts[1]}`;
  const said = `${sizeText(found)} ${difference < 0 ? measure.less : measure.more} ${measure.name}`;
  switch (verdict) {
    case VERDICT.few:
      return `${said}, but ${n} is too few to judge`;
    case VERDICT.same:
      return `no difference in ${measure.name} shown, CI ${rangeText(found)}, ${n}`;
    case VERDICT.more:
    case VERDICT.less:
      return `${said}, CI ${rangeText(found)}, ${n}`;
  }
}

/** How much, without its sign: as a share where there is one, else in the measure's unit. */
function sizeText({ measure, difference, change }: Change): string {
  return change === null ? amountText(measure, Math.abs(difference)) : `${percentDigits(Math.abs(change))} %`;
}

function rangeText({ measure, differenceInterval: plain, changeInterval: shares }: Change): string {
  if (shares !== null) return `${percentDigits(shares[0])}..${percentDigits(shares[1])} %`;
  const text = (value: number): string => `${value < 0 ? '-' : ''}${amountText(measure, Math.abs(value))}`;
  return plain === null ? 'unknown' : `${text(plain[0])}..${text(plain[1])}`;
}

/** A difference of percents is not in percent. */
function amountText({ kind, text }: Measure, value: number): string {
  return kind === 'percent' ? `${value.toFixed(1)} points` : text(value);
}

function percentDigits(share: number): string {
  return (share * PERCENT).toFixed(Math.abs(share) < 0.0995 ? 1 : 0);
}
