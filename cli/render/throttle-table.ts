/** How guests were slowed, and what work that cost them, the median over the trials. */
import type { TrialRecord } from '../../records/result-record.ts';
import type { ThrottleRecord } from '../../records/throttle-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { countText, durationText, orUnknown, percentText } from './measures.ts';
import { tableText } from './table.ts';

const HEADS = ['THROTTLE', 'TECHNIQUE', 'CONVERGED', 'AT MOST', 'THROTTLED', 'LOST OPERATIONS', 'LOST'];

/** A row for each variant in which a rule was to slow the guest; nothing when there is none. */
export function throttleTable(groups: ReadonlyMap<string, readonly TrialRecord[]>): string[] {
  const rows = [...groups].flatMap(([technique, trials]) => {
    const records = trials.flatMap(({ throttle }) => throttle ?? []);
    return records.length === 0 ? [] : [row(technique, trials, records)];
  });
  return rows.length === 0 ? [] : ['', tableText(HEADS, rows, 2)];
}

function row(
  technique: string,
  trials: readonly TrialRecord[],
  records: readonly ThrottleRecord[],
): string[] {
  const cell = (pick: (record: ThrottleRecord) => number | null, text: (value: number) => string): string =>
    orUnknown(median(records.map(pick).filter((value) => value !== null)), text);
  const converged = trials.filter(({ convergence }) => convergence === 'converged').length;
  return [
    records[0]!.rule,
    technique,
    `${converged} of ${trials.length}`,
    cell((record) => record.max_percent, percentText),
    cell((record) => record.throttled_ms, durationText),
    cell((record) => record.lost_operations, countText),
    cell((record) => record.lost_percent, percentText),
  ];
}
