/**
 * The measures that reports compare: where each is in a record, and how it is written. docs/metrics.md defines
 * them.
 */
import { bytesText, durationText, percentText } from '../cli/render/measures.ts';
import type { TrialRecord } from '../records/result-record.ts';

export interface Measure {
  /** Its name in the record, and in data that is downloaded. */
  readonly key: string;
  readonly name: string;
  /** Of more of it: "longer". */
  readonly more: string;
  readonly less: string;
  /** Of the least of all: "shortest". */
  readonly least: string;
  readonly pick: (trial: TrialRecord) => number | null;
  readonly text: (value: number) => string;
  readonly kind: 'time' | 'bytes' | 'percent';
}

const time = {
  more: 'longer',
  less: 'shorter',
  least: 'Shortest',
  text: durationText,
  kind: 'time',
} as const;
const bytes = { more: 'more', less: 'fewer', least: 'Fewest', text: bytesText, kind: 'bytes' } as const;

/** The longest gap that any of a guest's clients saw, ms; null when there is none. */
function clientGapMs({ clients }: TrialRecord): number | null {
  const gaps = (clients ?? []).flatMap(({ gap_ms }) => gap_ms ?? []);
  return gaps.length === 0 ? null : Math.max(...gaps);
}

/** The three that every technique trades against each other. */
export const MAIN_MEASURES: readonly Measure[] = [
  { key: 'downtime_ms', name: 'downtime', ...time, pick: (trial) => trial.downtime_ms },
  { key: 'total_time_ms', name: 'total time', ...time, pick: (trial) => trial.total_time_ms },
  { key: 'transferred_bytes', name: 'bytes sent', ...bytes, pick: (trial) => trial.transferred_bytes },
];

export const MEASURES: readonly Measure[] = [
  ...MAIN_MEASURES,
  { key: 'resent_bytes', name: 'bytes resent', ...bytes, pick: (trial) => trial.resent_bytes },
  {
    key: 'resume_time_ms',
    name: 'resume time',
    ...time,
    pick: (trial) => trial.postcopy?.resume_time_ms ?? null,
  },
  { key: 'blocktime_ms', name: 'blocktime', ...time, pick: (trial) => trial.postcopy?.blocktime_ms ?? null },
  { key: 'gap_ms', name: 'client gap', ...time, pick: clientGapMs },
  {
    key: 'degradation_percent',
    name: 'degradation',
    more: 'more',
    less: 'less',
    least: 'Least',
    text: percentText,
    kind: 'percent',
    pick: (trial) => trial.degradation_percent,
  },
];

/** A measure's values over trials, without those that have none. */
export function valuesOf(trials: readonly TrialRecord[], { pick }: Measure): number[] {
  return trials.map(pick).filter((value) => value !== null);
}

export interface ChartUnit {
  readonly unit: string;
  /** A value in the record's unit is so many times one in this. */
  readonly factor: number;
}

/** The unit in which an axis stays readable up to a value of the record. */
export function chartUnit(kind: Measure['kind'], most: number): ChartUnit {
  if (kind === 'percent') return { unit: '%', factor: 1 };
  if (kind === 'time') return most >= 10_000 ? { unit: 's', factor: 1000 } : { unit: 'ms', factor: 1 };
  if (most >= 10 * 2 ** 30) return { unit: 'GiB', factor: 2 ** 30 };
  return most >= 10 * 2 ** 10 ? { unit: 'MiB', factor: 2 ** 20 } : { unit: 'KiB', factor: 2 ** 10 };
}
