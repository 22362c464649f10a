/** The course of one trial over time: what the guest got done, when it stood still, and what was sent at what rate. */
import { PAGE_BYTES } from '../../proto/page.ts';
import type { TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { TIMELINE_POINTS_MAX } from '../limits.ts';
import type { Group } from '../study.ts';

const MS_PER_S = 1000;

/** What a span of sending was. */
export const SPAN_KINDS = {
  round: 'round',
  final: 'round in the pause',
  postcopy: 'after the resume',
  dirty: 'made stale by the guest',
} as const;

/** The trial whose downtime is nearest to the median of those that have a course of time. */
export function middleTrial({ trials }: Group): TrialRecord | undefined {
  const whole = trials.filter(
    ({ total_time_ms, downtime_ms }) => total_time_ms !== null && downtime_ms !== null,
  );
  const middle = median(whole.map(({ downtime_ms }) => downtime_ms!));
  if (middle === null) return undefined;
  const distance = ({ downtime_ms }: TrialRecord): number => Math.abs(downtime_ms! - middle);
  return whole.reduce((nearest, trial) => (distance(trial) < distance(nearest) ? trial : nearest));
}

/** When the guest stood still, ms since the migration's acceptance; undefined when that is not known. */
export function pauseOf({
  postcopy,
  rounds,
  downtime_ms,
}: TrialRecord): { from: number; to: number } | undefined {
  if (downtime_ms === null) return undefined;
  if (postcopy !== null) return { from: postcopy.resumed_at_ms - downtime_ms, to: postcopy.resumed_at_ms };
  const final = rounds?.find((round) => round.final);
  return final === undefined ? undefined : { from: final.start_ms, to: final.start_ms + downtime_ms };
}

/** ms since the migration's acceptance, and operations per second from then on. */
export interface WorkPoint {
  readonly at: number;
  readonly work: number;
}

/** The guest's throughput between two moments, averaged so that it can be drawn. */
export function workOf({ operations }: TrialRecord, fromMs: number, toMs: number): WorkPoint[] {
  const within = (operations ?? []).filter(({ at_ms }) => at_ms >= fromMs && at_ms <= toMs);
  const each = Math.max(1, Math.ceil(within.length / TIMELINE_POINTS_MAX));
  const points: WorkPoint[] = [];
  for (let from = 0; from < within.length; from += each) {
    const some = within.slice(from, from + each);
    const sum = some.reduce((total, { operations_per_s }) => total + operations_per_s, 0);
    points.push({ at: some[0]!.at_ms, work: sum / some.length });
  }
  return points;
}

/** A stretch of time, ms since the migration's acceptance, and how fast something went on in it. */
export interface RateSpan {
  readonly kind: string;
  readonly from: number;
  readonly to: number;
  /** Bytes per second. */
  readonly rate: number;
  readonly bytes: number;
}

/** What was sent in each round and after the resume, and what the guest wrote meanwhile. */
export function ratesOf({ rounds, postcopy, postcopy_bytes, downtime_ms }: TrialRecord): RateSpan[] {
  const spans = (rounds ?? []).flatMap((round): RateSpan[] => {
    const { start_ms: from, duration_ms, sent_bytes: bytes, final, dirty_rate_pps } = round;
    if (duration_ms <= 0) return [];
    const span = { from, to: from + duration_ms };
    if (final) {
      // When it had left the sockets says little: it is spread over the pause, in which it arrives.
      const lasting = Math.max(duration_ms, downtime_ms ?? 0);
      return [
        { kind: SPAN_KINDS.final, from, to: from + lasting, rate: (bytes / lasting) * MS_PER_S, bytes },
      ];
    }
    const sent = { ...span, kind: SPAN_KINDS.round, rate: (bytes / duration_ms) * MS_PER_S, bytes };
    const staleRate = dirty_rate_pps * PAGE_BYTES;
    return [
      sent,
      { ...span, kind: SPAN_KINDS.dirty, rate: staleRate, bytes: (staleRate * duration_ms) / MS_PER_S },
    ];
  });
  const { resumed_at_ms: from = 0, resume_time_ms: lasting = null } = postcopy ?? {};
  if (lasting === null || lasting <= 0 || postcopy_bytes === null) return spans;
  const rate = (postcopy_bytes / lasting) * MS_PER_S;
  return [...spans, { kind: SPAN_KINDS.postcopy, from, to: from + lasting, rate, bytes: postcopy_bytes }];
}
