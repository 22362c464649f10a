/** What was expected of migrations beside what they took, and why a technique was chosen. */
import { countedTrials } from '../../records/counted-trials.ts';
import type { PredictionRecord } from '../../records/prediction-record.ts';
import type { TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { bytesText, durationText, orUnknown, percentText } from './measures.ts';
import { tableText } from './table.ts';

const HEADS = [
  ...['PREDICTED', 'TOTAL TIME', 'MEASURED', 'DOWNTIME', 'MEASURED', 'TRANSFERRED', 'MEASURED'],
  ...['TOTAL OFF BY', 'WITHIN BAND'],
];
type Compared = PredictionRecord['total_time_ms'];

/** A row for each variant, the median over the trials; nothing when none was predicted. */
export function predictionTable(groups: ReadonlyMap<string, readonly TrialRecord[]>): string[] {
  const rows = [...groups].flatMap(([name, trials]) => {
    const records = countedTrials(trials).flatMap(({ prediction }) => prediction ?? []);
    return records.length === 0 ? [] : [row(name, records)];
  });
  return rows.length === 0 ? [] : ['', tableText(HEADS, rows, 1)];
}

function row(name: string, records: readonly PredictionRecord[]): string[] {
  const pair = (of: (record: PredictionRecord) => Compared, text: (value: number) => string): string[] => [
    orUnknown(median(records.map((record) => of(record).predicted)), text),
    orUnknown(median(records.flatMap((record) => of(record).measured ?? [])), text),
  ];
  const off = records.flatMap(({ total_time_ms }) => total_time_ms.error_percent ?? []).map(Math.abs);
  const within = records.filter(({ within_band }) => within_band === true).length;
  return [
    name,
    ...pair(({ total_time_ms }) => total_time_ms, durationText),
    ...pair(({ downtime_ms }) => downtime_ms, durationText),
    ...pair(({ transferred_bytes }) => transferred_bytes, bytesText),
    orUnknown(median(off), percentText),
    `${within} of ${records.length}`,
  ];
}

/** What one has to know of a trial's prediction. */
export function predictionNotes({ prediction }: TrialRecord): string[] {
  if (prediction === null) return [];
  const { reason, left_out, link_changed } = prediction;
  return [
    ...(reason === null ? [] : [`auto: ${reason}`]),
    ...(left_out === null ? [] : [`the prediction does not reckon with ${left_out}`]),
    ...(link_changed === null ? [] : [link_changed]),
  ];
}
