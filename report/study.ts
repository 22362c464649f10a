/**
 * What a report is about: the results, sorted into the variants that were compared. Only trials that count are in a
 * group; the others stand apart with the reason, and no figure can reach them by accident.
 */
import { variantText } from '../cli/render/variant-text.ts';
import { whyNotCounted } from '../records/counted-trials.ts';
import type { ResultRecord, TrialRecord } from '../records/result-record.ts';

/** One technique with one set of options: a row of each table and figure. */
export interface Group {
  readonly index: number;
  readonly technique: string;
  readonly variant: string | null;
  /** What people read, such as "post-copy push=none". */
  readonly name: string;
  /** Those that count. */
  readonly trials: readonly TrialRecord[];
  /** How many were run. */
  readonly trialCount: number;
}

export interface ExcludedTrial {
  readonly trial: TrialRecord;
  readonly group: string;
  readonly why: string;
}

export interface Study {
  readonly name: string;
  readonly record: ResultRecord;
  /** In the order in which they were run. */
  readonly groups: readonly Group[];
  readonly excluded: readonly ExcludedTrial[];
}

export function studyOf(record: ResultRecord): Study {
  const byName = [...Map.groupBy(record.trials, variantText)];
  const groups = byName.map(([name, trials], index): Group => {
    const { technique, variant } = trials[0]!;
    const counted = trials.filter((trial) => whyNotCounted(trial) === undefined);
    return { index, technique, variant, name, trials: counted, trialCount: trials.length };
  });
  const excluded = record.trials.flatMap((trial) => {
    const why = whyNotCounted(trial);
    return why === undefined ? [] : [{ trial, group: variantText(trial), why }];
  });
  const { name } = record.spec;
  return { name: typeof name === 'string' ? name : 'godwit', record, groups, excluded };
}

/** The groups of which there is something to show. */
export function shownGroups({ groups }: Study): Group[] {
  return groups.filter(({ trials }) => trials.length > 0);
}

/** What tells a trial from the others of its group; the same in each group, so that trials can be paired. */
export function pairKey({ trial, guest }: TrialRecord): string {
  return `${trial} ${guest ?? ''}`;
}

/** The differences `second` - `first` of the trials that both groups have, by one measure. */
export function pairedDifferences(
  first: Group,
  second: Group,
  pick: (trial: TrialRecord) => number | null,
): number[] {
  const values = new Map(first.trials.map((trial) => [pairKey(trial), pick(trial)]));
  return second.trials.flatMap((trial) => {
    const other = values.get(pairKey(trial)) ?? null;
    const value = pick(trial);
    return other === null || value === null ? [] : [value - other];
  });
}
