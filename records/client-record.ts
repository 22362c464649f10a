/** What a load generator saw of a guest that moved, in the form of the record. */

import type { LoadReport, LoadSettings } from '../proto/client-load.ts';
import type { ClientRecord, TrialRecord } from './result-record.ts';

export interface ClientFacts {
  readonly settings: LoadSettings;
  readonly via: string;
  readonly report: LoadReport;
  /** When the migration was accepted, by the clients' clock; undefined when it was not. */
  readonly acceptedAtMs: number | undefined;
  readonly downtimeMs: number | null;
}

export function clientRecord({ settings, via, report, acceptedAtMs, downtimeMs }: ClientFacts): ClientRecord {
  const { sent, answered, lost, late, wrong, reconnects, latencyMs, gap } = report;
  return {
    protocol: settings.protocol,
    via,
    address: settings.address,
    rate_requests_per_s: settings.ratePerS,
    ...{ sent, answered, lost, late, wrong, reconnects },
    latency_ms: latencyMs,
    gap_ms: gap?.ms ?? null,
    gap_at_ms: gap === null || acceptedAtMs === undefined ? null : gap.atMs - acceptedAtMs,
    gap_minus_downtime_ms: gap === null || downtimeMs === null ? null : gap.ms - downtimeMs,
  };
}

/**
 * Whether clients lost requests, and got no answer to any that was due after the migration: the guest does not serve
 * them where it is now.
 */
export function isUnserved({ lost, latency_ms }: ClientRecord): boolean {
  return lost > 0 && latency_ms.after.count === 0;
}

/** The record of a trial whose clients were not served; one that had not been completed keeps its own reason. */
export function failedForClients(record: TrialRecord, problem: string): TrialRecord {
  if (record.status !== 'completed') return record;
  return { ...record, status: 'failed', reason: `the clients: ${problem}` };
}
