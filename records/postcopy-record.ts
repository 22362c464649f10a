/**
 * What a trial's record says about the pages that came after the guest: how many each side counted, and how long the
 * guest waited for them. docs/metrics.md has the definitions.
 */

import type {
  DestinationReport,
  FaultLatencyBucket,
  PostcopyDestinationReport,
  SourceReport,
} from '../proto/generated/godwit/v1/migration.ts';
import type { PostcopyRecord } from './result-record.ts';

/** null when the guest was not switched to post-copy, or one of the two hosts did not live to tell. */
export function postcopyRecord(
  source: SourceReport | undefined,
  destination: DestinationReport | undefined,
): PostcopyRecord | null {
  const sent = source?.postcopy;
  const seen = destination?.postcopy;
  if (sent === undefined || seen === undefined) return null;
  const { resumedAtMs, clockOffsetMs } = destination as DestinationReport;
  return {
    resumed_at_ms: resumedAtMs + clockOffsetMs - (source as SourceReport).acceptedAtMs,
    resume_time_ms: seen.completeAtMs === 0 ? null : seen.completeAtMs - resumedAtMs,
    missing_pages: Number(sent.missingPages),
    placed_pages: Number(seen.placedPages),
    pushed_pages: Number(sent.pushedPages),
    demanded_pages: Number(sent.demandedPages),
    requests: Number(seen.requests),
    prefetch_hits: Number(sent.prefetchHits),
    faults: Number(seen.faults),
    fault_latency: faultLatency(seen),
    blocktime_ms: seen.blocktimeMs,
    vcpu_blocktime_ms: [...seen.vcpuBlocktimeMs],
    recoveries: seen.recoveries,
    paused_ms: seen.pausedMs,
  };
}

function faultLatency(seen: PostcopyDestinationReport): PostcopyRecord['fault_latency'] {
  const { faultLatency: buckets, faultLatencyMaxMs: max } = seen;
  if (buckets.length === 0) return null;
  return {
    p50_ms: percentile(buckets, 0.5, max),
    p90_ms: percentile(buckets, 0.9, max),
    p99_ms: percentile(buckets, 0.99, max),
    max_ms: max,
    histogram: buckets.map(({ upToMs, faults }) => ({ up_to_ms: upToMs, faults: Number(faults) })),
  };
}

/** The upper bound of the bucket in which the share of the faults is full; no fault took longer than `max`. */
function percentile(buckets: readonly FaultLatencyBucket[], share: number, max: number): number {
  const all = buckets.reduce((sum, { faults }) => sum + Number(faults), 0);
  let counted = 0;
  for (const { upToMs, faults } of buckets) {
    counted += Number(faults);
    if (counted >= share * all) return Math.min(upToMs, max);
  }
  return max;
}
