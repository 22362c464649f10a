/** What was expected of a migration beside what it took; docs/metrics.md, Prediction. */

import { z } from 'zod';
import type { MigrationReport } from '../proto/generated/godwit/v1/migration.ts';
import type {
  PredictedValue,
  PredictionBasis,
  TechniquePrediction,
} from '../proto/generated/godwit/v1/prediction.ts';

const ms = () => z.number().nullable();

const compared = (unit: string) =>
  z.strictObject({
    predicted: z.number().describe(unit),
    low: z.number().describe('The measured value was expected to be at least this'),
    high: z.number().describe('and at most this.'),
    measured: z.number().nullable(),
    error_percent: z.number().nullable().describe('Of the measured value; null when that is 0 or not known.'),
    within_band: z.boolean().nullable(),
  });

const technique = z.strictObject({
  technique: z.string(),
  parameters: z.string().describe('What tells it from what was asked for; or empty.'),
  total_time_ms: z.number(),
  downtime_ms: z.number(),
  transferred_bytes: z.number(),
  degradation_percent: z.number(),
  rounds: z.number(),
  convergence: z.string(),
});

export const predictionSchema = z.strictObject({
  technique: z.string(),
  parameters: z.string(),
  total_time_ms: compared('ms'),
  downtime_ms: compared('ms'),
  transferred_bytes: compared('bytes'),
  degradation_percent: compared('percent'),
  within_band: z
    .boolean()
    .nullable()
    .describe('Total time, downtime and bytes all are; null when one is not known.'),
  left_out: z.string().nullable().describe('What the migration did and the prediction does not reckon with.'),
  link_changed: z
    .string()
    .nullable()
    .describe('How the link differed from the probe, when it did by more than 10 %.'),
  reason: z.string().nullable().describe('auto: why it was chosen.'),
  meets_goal: z.boolean().nullable().describe('auto: whether it was expected to meet its goal.'),
  techniques: z.array(technique).describe('What all were expected to take.'),
  basis: z.strictObject({
    dirty_rate_pps: z.number().describe('Distinct pages per second at first.'),
    working_set_pages: z.number(),
    zero_share: z.number(),
    bandwidth_bytes_per_s: z.number(),
    round_trip_ms: ms(),
    probe_ms: z.number(),
  }),
});

export type PredictionRecord = z.infer<typeof predictionSchema>;

/** What a trial measured of what is predicted. */
export interface Measured {
  readonly total_time_ms: number | null;
  readonly downtime_ms: number | null;
  readonly transferred_bytes: number | null;
  readonly degradation_percent: number | null;
}

const MEASURED_MS_MIN = 100;
const CHANGED = 0.1;
/** So much longer a round trip is when it waits in a full queue of a link, and so much by what threads have to do. */
const QUEUE_MS = 30;
const THREADS_MS = 2;
const MS_PER_S = 1000;
const PERCENT = 100;

/** null when the migration was not predicted. */
export function predictionRecord(report: MigrationReport, measured: Measured): PredictionRecord | null {
  const { prediction, options } = report;
  const basis = prediction?.basis;
  const own =
    prediction?.techniques[prediction.chosen ?? -1] ??
    prediction?.techniques.find((each) => each.technique === options?.technique);
  if (prediction === undefined || basis === undefined || own === undefined) return null;
  const values = {
    total_time_ms: comparedValue(own.totalTimeMs, measured.total_time_ms),
    downtime_ms: comparedValue(own.downtimeMs, measured.downtime_ms),
    transferred_bytes: comparedValue(own.transferredBytes, measured.transferred_bytes),
    degradation_percent: comparedValue(own.degradationPercent, measured.degradation_percent),
  };
  const judged = [values.total_time_ms, values.downtime_ms, values.transferred_bytes];
  const isChosen = prediction.chosen !== undefined;
  return {
    technique: own.technique,
    parameters: own.parameters,
    ...values,
    within_band: judged.some((each) => each.within_band === null)
      ? null
      : judged.every((each) => each.within_band === true),
    left_out: own.leftOut === '' ? null : own.leftOut,
    link_changed: linkChange(report, basis),
    reason: isChosen ? prediction.reason : null,
    meets_goal: isChosen ? prediction.meetsGoal : null,
    techniques: prediction.techniques.map(techniqueRecord),
    basis: {
      dirty_rate_pps: basis.dirtyRatePagesPerS,
      working_set_pages: basis.workingSetPages,
      zero_share: basis.zeroShare,
      bandwidth_bytes_per_s: basis.bandwidthBytesPerS,
      round_trip_ms: basis.roundTripMs,
      probe_ms: basis.probeMs,
    },
  };
}

function comparedValue(value: PredictedValue | undefined, measured: number | null) {
  const { value: predicted, low, high } = value ?? { value: 0, low: 0, high: 0 };
  return {
    predicted,
    low,
    high,
    measured,
    error_percent: measured === null || measured === 0 ? null : (predicted / measured - 1) * PERCENT,
    within_band: measured === null ? null : measured >= low && measured <= high,
  };
}

function techniqueRecord(each: TechniquePrediction): z.infer<typeof technique> {
  return {
    technique: each.technique,
    parameters: each.parameters,
    total_time_ms: each.totalTimeMs?.value ?? 0,
    downtime_ms: each.downtimeMs?.value ?? 0,
    transferred_bytes: each.transferredBytes?.value ?? 0,
    degradation_percent: each.degradationPercent?.value ?? 0,
    rounds: each.rounds,
    convergence: each.convergence,
  };
}

/** What the migration itself had of the link, against the probe. */
function linkChange(report: MigrationReport, basis: PredictionBasis): string | null {
  const changes = [bandwidthChange(report, basis), roundTripChange(report, basis)];
  return changes.filter((change) => change !== '').join('; ') || null;
}

/** It may take less where it was told to. */
function bandwidthChange({ options, sourceReport }: MigrationReport, basis: PredictionBasis): string {
  const live = sourceReport?.rounds.filter(({ final }) => !final) ?? [];
  const liveMs = live.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const bytes = live.reduce((sum, { sentBytes }) => sum + Number(sentBytes), 0);
  if (liveMs < MEASURED_MS_MIN) return '';
  const seen = (bytes / liveMs) * MS_PER_S;
  const cap = options?.maxBandwidthBytesPerS || Number.POSITIVE_INFINITY;
  const expected = Math.min(cap, basis.bandwidthBytesPerS);
  const change = seen / expected - 1;
  if (Math.abs(change) <= CHANGED) return '';
  const mbit = (bytesPerS: number): string => `${((bytesPerS * 8) / 1e6).toFixed(0)} Mbit/s`;
  const how = `${(Math.abs(change) * PERCENT).toFixed(0)} % ${change < 0 ? 'less' : 'more'}`;
  return `the migration had ${mbit(seen)} of the link, ${how} than the ${mbit(expected)} of the probe`;
}

/** The shortest that the migration saw, which may have waited for its own pages all the same. */
function roundTripChange({ sourceReport }: MigrationReport, { roundTripMs }: PredictionBasis): string {
  const trips = sourceReport?.networkEstimates.flatMap((estimate) => estimate.leastRoundTripMs ?? []) ?? [];
  if (trips.length === 0) return '';
  const seen = Math.min(...trips);
  const isLonger = seen > roundTripMs * (1 + CHANGED) + QUEUE_MS;
  if (!isLonger && seen >= roundTripMs * (1 - CHANGED) - THREADS_MS) return '';
  return `its round trip was ${seen.toFixed(1)} ms, and ${roundTripMs.toFixed(1)} ms of the probe`;
}
