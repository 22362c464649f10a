/**
 * From what the two hosts saw of a migration to the record of a trial. Every definition stands in
 * docs/metrics.md; this is where they are carried out. Pure. Times of the destination are brought to the
 * source's clock.
 */

import type { MigrationWindow } from '../proto/client-load.ts';
import type { AuditReport, OperationSeries } from '../proto/generated/godwit/v1/guest.ts';
import {
  type DestinationReport,
  MigrationPhase,
  type MigrationReport,
  type RoundReport,
  type SourceReport,
} from '../proto/generated/godwit/v1/migration.ts';
import { decisionRecords } from './decision-record.ts';
import { freePagesRecord } from './free-pages-record.ts';
import { postcopyRecord } from './postcopy-record.ts';
import { predictionRecord } from './prediction-record.ts';
import type { AuditRecord, RoundRecord, TrialRecord } from './result-record.ts';
import { throttleRecord } from './throttle-record.ts';
import { transformRecords } from './transform-record.ts';
import { intervals, joinWork, rateBetween } from './work.ts';

export interface TrialFacts {
  /** From 1. */
  readonly trial: number;
  readonly report: MigrationReport;
  /** The guest's operations at the destination since it resumed there, in that host's clock. */
  readonly destinationSeries: OperationSeries;
  readonly audit: AuditReport | null;
  /** Page writes per second; null when the guest runs as fast as it can, or what it writes cannot be said. */
  readonly requestedPagesPerS: number | null;
  readonly achievedPagesPerS: number | null;
}

export function trialRecord(facts: TrialFacts): TrialRecord {
  const { report, audit } = facts;
  const { sourceReport, destinationReport } = report;
  const measured: TrialRecord = {
    ...emptyTrial(report.options?.technique ?? '', facts.trial, statusOf(report), textOrNull(report.reason)),
    ...(sourceReport && sourceFields(sourceReport)),
    ...jointFields(moments(sourceReport, destinationReport), facts),
    decisions: decisionRecords(sourceReport),
  };
  return {
    ...measured,
    prediction: predictionRecord(report, measured),
    transforms: transformRecords(sourceReport, destinationReport),
    postcopy: postcopyRecord(sourceReport, destinationReport),
    free_pages: freePagesRecord(sourceReport),
    guest: textOrNull(report.guest),
    dirty_rate_pps_requested: facts.requestedPagesPerS,
    dirty_rate_pps_achieved: facts.achievedPagesPerS,
    clock_error_ms: destinationReport?.clockErrorMs ?? null,
    source: textOrNull(report.source),
    destination: textOrNull(report.destination),
    audit: audit && auditRecord(audit),
  };
}

/** A trial that ended before anything was measured. */
export function emptyTrial(
  technique: string,
  trial: number,
  status: TrialRecord['status'],
  reason: string | null,
): TrialRecord {
  return {
    technique,
    variant: null,
    guest: null,
    trial,
    status,
    reason,
    convergence: null,
    decisions: null,
    switched_by_hand_at_ms: null,
    total_time_ms: null,
    setup_time_ms: null,
    downtime_ms: null,
    downtime_parts: {
      quiesce_ms: null,
      final_pages_ms: null,
      device_state_ms: null,
      handover_ms: null,
      resume_ms: null,
    },
    transferred_bytes: null,
    precopy_bytes: null,
    downtime_bytes: null,
    postcopy_bytes: null,
    resent_bytes: null,
    normal_pages: null,
    zero_pages: null,
    rounds: null,
    transforms: null,
    postcopy: null,
    throttle: null,
    free_pages: null,
    dirty_rate_pps_requested: null,
    dirty_rate_pps_achieved: null,
    degradation_percent: null,
    operations: null,
    clock_error_ms: null,
    source: null,
    destination: null,
    audit: null,
    prediction: null,
    network: null,
    estimates: null,
    background: null,
    clients: null,
  };
}

function statusOf({ owner, phase }: MigrationReport): TrialRecord['status'] {
  if (owner === '') return 'lost';
  if (phase === MigrationPhase.MIGRATION_PHASE_COMPLETED) return 'completed';
  return phase === MigrationPhase.MIGRATION_PHASE_CANCELLED ? 'cancelled' : 'failed';
}

/** What the source counted alone. */
function sourceFields(source: SourceReport): Partial<TrialRecord> {
  return {
    convergence: textOrNull(source.convergence),
    switched_by_hand_at_ms:
      source.switchRequestedAtMs === 0 ? null : source.switchRequestedAtMs - source.acceptedAtMs,
    transferred_bytes: Number(source.transferredBytes),
    precopy_bytes: Number(source.precopyBytes),
    downtime_bytes: Number(source.downtimeBytes),
    postcopy_bytes: Number(source.postcopy?.sentBytes ?? 0n),
    resent_bytes: Number(source.resentBytes),
    normal_pages: Number(source.normalPages),
    zero_pages: Number(source.zeroPages),
    rounds: source.rounds.map((round) => roundRecord(round, source.acceptedAtMs)),
  };
}

/** The moments of a migration in the source's clock, ms; undefined for those that did not come. */
type Moments = ReturnType<typeof moments>;

function moments(source: SourceReport | undefined, destination: DestinationReport | undefined) {
  // A moment that did not come is 0 in the reports: a monotonic clock never stands there.
  const atSource = (ms: number | undefined) => (ms === 0 ? undefined : ms);
  const atDestination = (ms: number | undefined) =>
    ms === undefined || ms === 0 ? undefined : ms + (destination?.clockOffsetMs ?? 0);
  return {
    accepted: atSource(source?.acceptedAtMs),
    setupDone: atSource(source?.setupDoneAtMs),
    pauseRequested: atSource(source?.pauseRequestedAtMs),
    parked: atSource(source?.parkedAtMs),
    finalPagesSent: atSource(source?.finalPagesSentAtMs),
    deviceStateSent: atSource(source?.deviceStateSentAtMs),
    commitReceived: atDestination(destination?.commitReceivedAtMs),
    resumed: atDestination(destination?.resumedAtMs),
    complete: atDestination(destination?.postcopy?.completeAtMs),
    freed: atSource(source?.freedAtMs),
  };
}

/**
 * From the migration's acceptance to its end, by the source's clock; undefined when it did not come to an end.
 */
export function migrationWindow(report: MigrationReport): MigrationWindow | undefined {
  const at = moments(report.sourceReport, report.destinationReport);
  const { accepted: fromMs, freed, resumed } = at;
  if (fromMs === undefined || freed === undefined || resumed === undefined) return undefined;
  return { fromMs, toMs: Math.max(freed, resumed) };
}

/** What follows from both hosts' moments and counts. */
function jointFields(at: Moments, facts: TrialFacts): Partial<TrialRecord> {
  const isWhole = facts.report.destinationReport?.postcopy === undefined || at.complete !== undefined;
  const ended =
    at.freed === undefined || at.resumed === undefined || !isWhole
      ? undefined
      : Math.max(at.freed, at.resumed, at.complete ?? 0);
  return {
    total_time_ms: between(at.accepted, ended),
    setup_time_ms: between(at.accepted, at.setupDone),
    downtime_ms: between(at.parked, at.resumed),
    downtime_parts: {
      quiesce_ms: between(at.pauseRequested, at.parked),
      final_pages_ms: between(at.parked, at.finalPagesSent),
      device_state_ms: between(at.finalPagesSent, at.deviceStateSent),
      handover_ms: between(at.deviceStateSent, at.commitReceived),
      resume_ms: between(at.commitReceived, at.resumed),
    },
    ...workFields(at, ended, facts),
  };
}

function workFields(at: Moments, ended: number | undefined, facts: TrialFacts): Partial<TrialRecord> {
  const { report, destinationSeries } = facts;
  const { series, throttle } = report.sourceReport ?? {};
  const unknown = { throttle: throttleRecord(throttle, undefined) };
  if (series === undefined || at.accepted === undefined) return unknown;
  const work = joinWork({
    source: series,
    destination: destinationSeries,
    clockOffsetMs: report.destinationReport?.clockOffsetMs ?? 0,
    parkedAtMs: at.parked,
    resumedAtMs: at.resumed,
  });
  if (work === undefined) return unknown;
  const before = rateBetween(work, Number.NEGATIVE_INFINITY, at.accepted);
  const during = ended === undefined ? null : rateBetween(work, at.accepted, ended);
  const known = before !== null && before > 0 && during !== null;
  const sourceRate = at.parked === undefined ? null : rateBetween(work, at.accepted, at.parked);
  const sourceWork =
    before !== null && before > 0 && sourceRate !== null
      ? { beforePerS: before, duringPerS: sourceRate, durationMs: (at.parked as number) - at.accepted }
      : undefined;
  return {
    operations: intervals(work, at.accepted),
    degradation_percent: known ? (1 - during / before) * 100 : null,
    throttle: throttleRecord(throttle, sourceWork),
  };
}

function between(from: number | undefined, to: number | undefined): number | null {
  return from === undefined || to === undefined ? null : to - from;
}

function roundRecord(round: RoundReport, acceptedAtMs: number): RoundRecord {
  return {
    round: round.round,
    final: round.final,
    start_ms: round.startMs - acceptedAtMs,
    duration_ms: round.durationMs,
    pages: Number(round.pages),
    zero_pages: Number(round.zeroPages),
    sent_bytes: Number(round.sentBytes),
    resent_pages: Number(round.resentPages),
    dirty_pages_after: Number(round.dirtyPagesAfter),
    dirty_rate_pps: round.dirtyRatePagesPerS,
    bandwidth_bytes_per_s: round.bandwidthBytesPerS,
    expected_downtime_ms: round.expectedDowntimeMs,
    skipped_pages: Number(round.skippedPages),
    free_pages: Number(round.freePages),
  };
}

function auditRecord(audit: AuditReport): AuditRecord {
  return {
    pages_checked: Number(audit.pagesChecked),
    faults: audit.faults.map(({ page, kind, detail }) => ({ page: Number(page), kind, detail })),
    fault_count: Number(audit.faultCount),
    evidence: audit.evidence,
  };
}

function textOrNull(text: string): string | null {
  return text === '' ? null : text;
}
