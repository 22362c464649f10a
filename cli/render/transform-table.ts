/** What the transforms did to the pages: what each saved, and what it cost, the median over the trials. */
import { countedTrials } from '../../records/counted-trials.ts';
import type { TransformRecord, TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { bytesText, countText, durationText, orUnknown } from './measures.ts';
import { tableText } from './table.ts';

const HEADS = ['TRANSFORM', 'TECHNIQUE', 'PAGES', 'BYTES IN', 'BYTES OUT', 'RATIO', 'HITS', 'MISSES'];
const COST_HEADS = ['CPU, SOURCE', 'CPU, DESTINATION'];
const MS_PER_S = 1000;

/** A row for each transform of each technique; nothing where pages of zeroes were all that was looked for. */
export function transformTable(groups: ReadonlyMap<string, readonly TrialRecord[]>): string[] {
  const rows = [...groups].flatMap(([technique, trials]) => {
    const records = countedTrials(trials).flatMap(({ transforms }) => transforms ?? []);
    return [...Map.groupBy(records, labelOf)].map(([label, group]) => row(label, technique, group));
  });
  if (rows.every(([label]) => label === 'zero')) return [];
  return ['', tableText([...HEADS, ...COST_HEADS], rows, 2)];
}

function labelOf({ name, variant }: TransformRecord): string {
  return variant === null ? name : `${name}: ${variant}`;
}

function row(label: string, technique: string, records: readonly TransformRecord[]): string[] {
  const cell = (pick: (record: TransformRecord) => number | null, text: (value: number) => string): string =>
    orUnknown(median(records.map(pick).filter((value) => value !== null)), text);
  const cpuText = (seconds: number): string => durationText(seconds * MS_PER_S);
  return [
    label,
    technique,
    cell((record) => record.pages_in, countText),
    cell((record) => record.bytes_in, bytesText),
    cell((record) => record.bytes_out, bytesText),
    cell(
      (record) => record.ratio,
      (ratio) => ratio.toFixed(3),
    ),
    cell((record) => record.hits, countText),
    cell((record) => record.misses, countText),
    cell((record) => record.cpu_s, cpuText),
    cell((record) => record.destination_cpu_s, cpuText),
  ];
}
