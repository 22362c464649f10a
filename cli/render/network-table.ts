/** What rules knew of the links and left of them: estimates against the truth, and what became of other traffic. */
import type { TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { bitsText, durationText, orUnknown, percentText } from './measures.ts';
import { tableText } from './table.ts';
import { variantText } from './variant-text.ts';

const ESTIMATE_HEADS = [
  'ESTIMATES',
  'SAMPLES',
  'OFF, MEDIAN',
  '1 S AFTER A STEP',
  'STEPS',
  'LEAST ROUND TRIP',
];

/** How far the sources' estimates of links with a rate were off; the worst trial's step. */
export function estimateTable(trials: readonly TrialRecord[]): string[] {
  const groups = Map.groupBy(trials, variantText);
  const rows = [...groups].flatMap(([name, group]) => {
    const records = group.flatMap(({ estimates }) => estimates ?? []);
    const offs = records.flatMap(({ bandwidth_error_median_percent: off }) => off ?? []);
    if (offs.length === 0) return [];
    const worst = records.flatMap(({ error_after_step_percent: off }) => off ?? []);
    const judged = records
      .flatMap(({ steps }) => steps)
      .filter((step) => step.error_after_1s_percent !== null);
    const trips = records.flatMap(({ least_round_trip_ms: ms }) => ms ?? []);
    return [
      [
        name,
        String(records.reduce((sum, { samples }) => sum + samples, 0)),
        orUnknown(median(offs), percentText),
        orUnknown(worst.length === 0 ? null : Math.max(...worst), percentText),
        String(judged.length),
        orUnknown(median(trips), durationText),
      ],
    ];
  });
  return rows.length === 0 ? [] : ['', tableText(ESTIMATE_HEADS, rows, 1)];
}

const BACKGROUND_HEADS = [
  ...['OTHER TRAFFIC', 'OFFERED', 'BEFORE', 'DURING', 'AFTER', 'KEPT', 'MIGRATION'],
  'SHARE OF THE REST',
];

/** What other traffic kept beside migrations, and what they took of the rest; the median over the trials. */
export function backgroundTable(trials: readonly TrialRecord[]): string[] {
  const groups = Map.groupBy(trials, variantText);
  const rows = [...groups].flatMap(([name, group]) => {
    const records = group.flatMap(({ background }) => background ?? []);
    const [first] = records;
    if (first === undefined) return [];
    const cell = (pick: (record: (typeof records)[number]) => number | null, text = bitsText): string =>
      orUnknown(median(records.flatMap((record) => pick(record) ?? [])), text);
    return [
      [
        name,
        bitsText(first.offered_bytes_per_s),
        cell((record) => record.before_bytes_per_s),
        cell((record) => record.during_bytes_per_s),
        cell((record) => record.after_bytes_per_s),
        cell((record) => record.kept_percent, percentText),
        cell((record) => record.migration_bytes_per_s),
        cell((record) => record.migration_share_percent, percentText),
      ],
    ];
  });
  return rows.length === 0 ? [] : ['', tableText(BACKGROUND_HEADS, rows, 1)];
}
