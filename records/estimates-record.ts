/**
 * What the source believed of the link while it migrated, beside what the link was. Every definition stands in
 * docs/metrics.md. Pure. Times are the source's clock, ms.
 */

import { z } from 'zod';
import type { NetworkEstimate, SourceReport } from '../proto/generated/godwit/v1/migration.ts';

const known = () => z.number().nonnegative().nullable();

const estimate = z.strictObject({
  at_ms: z.number().describe("Since the migration's acceptance."),
  bandwidth_bytes_per_s: known().describe('null: nothing waited for the link, so that it is not known.'),
  true_bandwidth_bytes_per_s: known().describe('null: the link has no rate, or a fault.'),
  round_trip_ms: known().describe('With what waited for the link.'),
  least_round_trip_ms: known().describe('The shortest of the last 5 to 10 s.'),
});

const step = z.strictObject({
  at_ms: z.number().describe("Since the migration's acceptance."),
  bandwidth_bytes_per_s: z.number().describe('What the link gives from then on.'),
  error_after_1s_percent: known().describe(
    'How far the estimate was off a second later; null: it was not known then, or changed or ended before.',
  ),
});

export const estimatesSchema = z.strictObject({
  samples: z.int().nonnegative().describe('How many estimates there are of a bandwidth.'),
  bandwidth_error_median_percent: known().describe('Of those, against the truth; null when there is none.'),
  error_after_step_percent: known().describe('The worst a second after a step of the link.'),
  least_round_trip_ms: known().describe('The shortest of all.'),
  steps: z.array(step),
  series: z.array(estimate).describe('At most 600.'),
});
export type EstimatesRecord = z.infer<typeof estimatesSchema>;

/** From this time on the link gives so much. */
export interface RateStep {
  readonly atMs: number;
  /** Undefined: there is no limit, or nobody can say. */
  readonly bytesPerS: number | undefined;
}

/** A step is judged so much later; and when the estimate is older than that, it knew nothing. */
const AFTER_STEP_MS = 1000;
const STALE_MS = 500;

/** @param truth what the link gave, oldest first; empty when nobody can say. Null for a migration without estimates. */
export function estimatesRecord(
  { networkEstimates, acceptedAtMs, pauseRequestedAtMs }: SourceReport,
  truth: readonly RateStep[],
): EstimatesRecord | null {
  if (networkEstimates.length === 0) return null;
  const endMs = pauseRequestedAtMs === 0 ? Number.POSITIVE_INFINITY : pauseRequestedAtMs;
  const moving = networkEstimates.filter(({ atMs }) => atMs <= endMs);
  const errors = moving.flatMap((one) => errorPercent(one, truthAt(truth, one.atMs)) ?? []);
  const steps = judgedSteps(moving, truth, acceptedAtMs, endMs);
  const worst = steps.flatMap(({ error_after_1s_percent: error }) => error ?? []);
  const trips = networkEstimates.flatMap(({ leastRoundTripMs }) => leastRoundTripMs ?? []);
  return {
    samples: moving.filter(({ bandwidthBytesPerS }) => bandwidthBytesPerS !== undefined).length,
    bandwidth_error_median_percent: median(errors),
    error_after_step_percent: worst.length === 0 ? null : Math.max(...worst),
    least_round_trip_ms: trips.length === 0 ? null : Math.min(...trips),
    steps,
    series: networkEstimates.map((one) => ({
      at_ms: one.atMs - acceptedAtMs,
      bandwidth_bytes_per_s: one.bandwidthBytesPerS ?? null,
      true_bandwidth_bytes_per_s: truthAt(truth, one.atMs) ?? null,
      round_trip_ms: one.roundTripMs ?? null,
      least_round_trip_ms: one.leastRoundTripMs ?? null,
    })),
  };
}

/** What a link that changes carries in a time, bytes; undefined when it has no rate then. */
export function carriedBytes(truth: readonly RateStep[], fromMs: number, toMs: number): number | undefined {
  let bytes = 0;
  for (const [index, { atMs, bytesPerS }] of truth.entries()) {
    const endMs = Math.min(truth[index + 1]?.atMs ?? Number.POSITIVE_INFINITY, toMs);
    const durationMs = endMs - Math.max(atMs, fromMs);
    if (durationMs <= 0) continue;
    if (bytesPerS === undefined) return undefined;
    bytes += (bytesPerS * durationMs) / 1000;
  }
  return truth.length === 0 ? undefined : bytes;
}

function judgedSteps(
  estimates: readonly NetworkEstimate[],
  truth: readonly RateStep[],
  acceptedAtMs: number,
  endMs: number,
): EstimatesRecord['steps'] {
  return truth.flatMap(({ atMs, bytesPerS }, index) => {
    if (index === 0 || bytesPerS === undefined || atMs < acceptedAtMs || atMs > endMs) return [];
    const judgedAtMs = atMs + AFTER_STEP_MS;
    const nextMs = truth[index + 1]?.atMs ?? Number.POSITIVE_INFINITY;
    const newest = estimates.findLast((one) => one.atMs <= judgedAtMs);
    const isJudged = judgedAtMs <= Math.min(nextMs, endMs) && (newest?.atMs ?? 0) >= judgedAtMs - STALE_MS;
    const error = isJudged && newest !== undefined ? errorPercent(newest, bytesPerS) : undefined;
    return {
      at_ms: atMs - acceptedAtMs,
      bandwidth_bytes_per_s: bytesPerS,
      error_after_1s_percent: error ?? null,
    };
  });
}

function errorPercent(
  { bandwidthBytesPerS }: NetworkEstimate,
  trueBytesPerS: number | undefined,
): number | undefined {
  if (bandwidthBytesPerS === undefined || trueBytesPerS === undefined || trueBytesPerS === 0)
    return undefined;
  return Math.abs(bandwidthBytesPerS / trueBytesPerS - 1) * 100;
}

function truthAt(truth: readonly RateStep[], atMs: number): number | undefined {
  return truth.findLast((step) => step.atMs <= atMs)?.bytesPerS;
}

function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? null;
}
