/** What a load generator saw of a guest that moved, in the form of the record. */

import type { LoadReport, LoadSettings } from '../proto/client-load.ts';
import type { ClientRecord } from './result-record.ts';

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
