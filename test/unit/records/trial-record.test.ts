/** The record of a trial, from what two hosts with different clocks saw. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { AuditReport, OperationSeries } from '../../../proto/generated/godwit/v1/guest.ts';
import {
  DestinationReport,
  MigrationPhase,
  MigrationReport,
  RoundReport,
  SourceReport,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { failedForClients, isUnserved } from '../../../records/client-record.ts';
import { machineRecord } from '../../../records/machine.ts';
import { type ClientRecord, resultsJsonSchema } from '../../../records/result-record.ts';
import { emptyTrial, type TrialFacts, trialRecord } from '../../../records/trial-record.ts';

/** The destination's clock is this far behind the source's. */
const OFFSET_MS = 5000;
const ACCEPTED_MS = 10_000;

/**
 * 1 operation per ms from 9,500 up to the pause at 10,500, sampled every 20 ms: also before, when the guest
 * was being started, and after, when the source still held it.
 */
const sampledAtMs = Array.from({ length: 100 }, (_, index) => 9000 + index * 20);
const sourceSeries = OperationSeries.fromPartial({
  atMs: sampledAtMs,
  operations: sampledAtMs.map((atMs) => Math.min(Math.max(atMs - 9499, 0), 1001)),
});
/** The same pace from the resume at 10,550 (5,550 there) on; the first sample comes 10 ms later. */
const destinationSeries = OperationSeries.fromPartial({
  atMs: Array.from({ length: 30 }, (_, index) => 5560 + index * 20),
  operations: Array.from({ length: 30 }, (_, index) => 10 + index * 20),
});

const sourceReport = SourceReport.fromPartial({
  acceptedAtMs: ACCEPTED_MS,
  setupDoneAtMs: 10_012,
  pauseRequestedAtMs: 10_499,
  parkedAtMs: 10_500,
  finalPagesSentAtMs: 10_530,
  deviceStateSentAtMs: 10_532,
  readyAtMs: 10_536,
  commitSentAtMs: 10_537,
  freedAtMs: 10_600,
  rounds: [
    RoundReport.fromPartial({ round: 1, startMs: 10_012, durationMs: 400, pages: 256n, sentBytes: 900_000n }),
    RoundReport.fromPartial({ round: 2, final: true, startMs: 10_500, pages: 20n, resentPages: 20n }),
  ],
  transferredBytes: 1_000_000n,
  precopyBytes: 900_000n,
  downtimeBytes: 100_000n,
  normalPages: 250n,
  zeroPages: 26n,
  resentBytes: 81_920n,
  convergence: 'converged',
  series: sourceSeries,
});

const report = MigrationReport.fromPartial({
  guest: 'guest',
  source: 'host-1',
  destination: 'host-2',
  phase: MigrationPhase.MIGRATION_PHASE_COMPLETED,
  owner: 'host-2',
  options: defaultMigrationOptions('pre-copy'),
  sourceReport,
  destinationReport: DestinationReport.fromPartial({
    installedAtMs: 5535,
    commitReceivedAtMs: 5540,
    resumedAtMs: 5550,
    clockOffsetMs: OFFSET_MS,
    clockErrorMs: 0.2,
  }),
});

/** Resumed at 10,550 in the source's clock with 500 pages missing; the last came at 11,100, after it was freed. */
const switched: MigrationReport = {
  ...report,
  sourceReport: SourceReport.fromPartial({
    ...sourceReport,
    transferredBytes: 3_000_000n,
    postcopy: {
      missingPages: 500n,
      pushedPages: 420n,
      demandedPages: 80n,
      prefetchHits: 10n,
      sentBytes: 2_000_000n,
    },
  }),
  destinationReport: DestinationReport.fromPartial({
    ...report.destinationReport,
    postcopy: {
      completeAtMs: 6100,
      placedPages: 500n,
      faults: 100n,
      requests: 90n,
      blocktimeMs: 12,
      vcpuBlocktimeMs: [20, 15],
      faultLatency: [
        { upToMs: 0.1, faults: 50n },
        { upToMs: 0.2, faults: 45n },
        { upToMs: 4, faults: 5n },
      ],
      faultLatencyMaxMs: 3.9,
    },
  }),
};

const facts: TrialFacts = {
  trial: 1,
  report,
  destinationSeries,
  audit: AuditReport.fromPartial({
    pagesChecked: 256n,
    faults: [{ page: 7n, kind: 'torn', detail: 'slot 3' }],
    faultCount: 1n,
    evidence: 'ledger',
  }),
  requestedPagesPerS: 1000,
  achievedPagesPerS: 999.5,
};

describe('the record of a trial', () => {
  it('counts the beginnings of rounds from the acceptance', () => {
    const { rounds } = trialRecord(facts);
    expect(rounds?.map(({ start_ms }) => start_ms)).toEqual([12, 500]);
  });

  it('takes every time from its own start and end, in one clock', () => {
    expect(trialRecord(facts)).toMatchObject({
      technique: 'pre-copy',
      status: 'completed',
      convergence: 'converged',
      setup_time_ms: 12,
      downtime_ms: 50,
      total_time_ms: 600,
      downtime_parts: {
        quiesce_ms: 1,
        final_pages_ms: 30,
        device_state_ms: 2,
        handover_ms: 8,
        resume_ms: 10,
      },
      clock_error_ms: 0.2,
      source: 'host-1',
      destination: 'host-2',
    });
  });

  it('has parts that sum to the downtime, without the quiesce before it', () => {
    const { downtime_ms, downtime_parts } = trialRecord(facts);
    const { final_pages_ms, device_state_ms, handover_ms, resume_ms } = downtime_parts;
    const parts = [final_pages_ms, device_state_ms, handover_ms, resume_ms];
    expect(parts.reduce<number>((sum, part) => sum + (part ?? Number.NaN), 0)).toBeCloseTo(downtime_ms!, 9);
  });

  it('ends when both the guest runs and the source has freed it', () => {
    const early = { ...report, sourceReport: { ...sourceReport, freedAtMs: 10_540 } };
    expect(trialRecord({ ...facts, report: early }).total_time_ms).toBe(550);
  });

  it('counts what the guest did not do in the pause as its degradation', () => {
    // 50 ms of the 600 ms without an operation; before, 1 operation per ms.
    expect(trialRecord(facts).degradation_percent).toBeCloseTo((50 / 600) * 100, 6);
  });

  it('shows the operations every 20 ms, none in the pause', () => {
    const operations = trialRecord(facts).operations ?? [];
    const at = (ms: number) => operations.find(({ at_ms }) => at_ms === ms)?.operations_per_s;
    expect(operations[0]?.at_ms).toBe(-500);
    expect([at(-20), at(480), at(500), at(520)]).toEqual([1000, 1000, 0, 0]);
    expect(at(540)).toBeCloseTo(500, 6);
    expect(at(560)).toBeCloseTo(1000, 6);
    expect(operations.every(({ at_ms }, index) => at_ms === -500 + index * 20)).toBe(true);
  });

  it('says of post-copy what each side counted, and how long the guest waited', () => {
    expect(trialRecord(facts).postcopy).toBeNull();
    const record = trialRecord({ ...facts, report: switched });
    expect(record).toMatchObject({
      total_time_ms: 1100,
      transferred_bytes: 3_000_000,
      postcopy_bytes: 2_000_000,
    });
    expect(record.postcopy).toEqual({
      resumed_at_ms: 550,
      resume_time_ms: 550,
      missing_pages: 500,
      placed_pages: 500,
      pushed_pages: 420,
      demanded_pages: 80,
      requests: 90,
      prefetch_hits: 10,
      faults: 100,
      fault_latency: {
        p50_ms: 0.1,
        p90_ms: 0.2,
        p99_ms: 3.9,
        max_ms: 3.9,
        histogram: [
          { up_to_ms: 0.1, faults: 50 },
          { up_to_ms: 0.2, faults: 45 },
          { up_to_ms: 4, faults: 5 },
        ],
      },
      blocktime_ms: 12,
      vcpu_blocktime_ms: [20, 15],
      recoveries: 0,
      paused_ms: 0,
    });
  });

  it('says what work a guest that was slowed has lost, by its counts and by the time that it stood still', () => {
    expect(trialRecord(facts).throttle).toBeNull();
    // From the acceptance on half as fast: 250 operations less in 500 ms.
    const { atMs, operations } = sourceSeries;
    const slower = operations.map((count, index) => {
      const workedMs = Math.min(Math.max(atMs[index]! - ACCEPTED_MS, 0), 500);
      return count - workedMs / 2;
    });
    const throttle = { rule: 'sdps', maxPercent: 60, vcpuThrottledMs: [300, 200], vcpuWriteFaults: [1n, 2n] };
    const series = { ...sourceSeries, operations: slower };
    const slowed = { ...report, sourceReport: { ...sourceReport, series, throttle } };
    const record = trialRecord({ ...facts, report: slowed }).throttle!;
    expect(record).toMatchObject({
      rule: 'sdps',
      max_percent: 60,
      throttled_ms: 500,
      vcpu_throttled_ms: [300, 200],
    });
    expect(record.lost_operations).toBeCloseTo(250, 6);
    expect(record.lost_percent).toBeCloseTo(50, 6);
    expect(record.throttled_operations).toBeCloseTo(250, 6);
    // One that was cancelled has no pause up to which it could be counted.
    const cancelled = { ...slowed, sourceReport: { ...slowed.sourceReport, parkedAtMs: 0 } };
    const unknown = trialRecord({ ...facts, report: cancelled }).throttle;
    expect(unknown).toMatchObject({ throttled_ms: 500, lost_operations: null, lost_percent: null });
  });

  it('has no end of a post-copy that was not complete', () => {
    const { destinationReport } = switched;
    const postcopy = { ...destinationReport!.postcopy!, completeAtMs: 0 };
    const broken = { ...switched, destinationReport: { ...destinationReport!, postcopy } };
    const record = trialRecord({ ...facts, report: broken });
    expect([record.total_time_ms, record.postcopy?.resume_time_ms]).toEqual([null, null]);
  });

  it('leaves out what a cancelled migration did not live to see', () => {
    const source = {
      ...sourceReport,
      parkedAtMs: 0,
      finalPagesSentAtMs: 0,
      deviceStateSentAtMs: 0,
      freedAtMs: 0,
    };
    const cancelled: MigrationReport = {
      ...report,
      phase: MigrationPhase.MIGRATION_PHASE_CANCELLED,
      reason: 'cancelled by the user',
      owner: 'host-1',
      sourceReport: source,
      destinationReport: undefined,
    };
    const none = OperationSeries.fromPartial({});
    const record = trialRecord({ ...facts, report: cancelled, destinationSeries: none, audit: null });
    expect(record).toMatchObject({
      status: 'cancelled',
      reason: 'cancelled by the user',
      setup_time_ms: 12,
      downtime_ms: null,
      total_time_ms: null,
      degradation_percent: null,
      precopy_bytes: 900_000,
      audit: null,
    });
    expect(record.downtime_parts.final_pages_ms).toBeNull();
    // It runs on at the source, which has sampled it up to 10,980.
    expect(record.operations?.at(-1)?.at_ms).toBe(960);
  });

  it('says lost when nobody runs the guest, and no more than was known', () => {
    const lost: MigrationReport = {
      ...report,
      phase: MigrationPhase.MIGRATION_PHASE_FAILED,
      owner: '',
      sourceReport: undefined,
      destinationReport: undefined,
    };
    const record = trialRecord({ ...facts, report: lost, audit: null });
    expect(record).toMatchObject({ status: 'lost', transferred_bytes: null, rounds: null, operations: null });
  });
});

describe('the record of a guest that clients do not reach', () => {
  const latency = { count: 9, p50: 1, p90: 1, p99: 1, p999: 1, max: 1 };
  const none = { count: 0, p50: null, p90: null, p99: null, p999: null, max: null };
  const client: ClientRecord = {
    ...{ protocol: 'udp', via: 'address', address: '10.0.2.1:7000', rate_requests_per_s: 100 },
    ...{ sent: 29, answered: 18, lost: 11, late: 0, wrong: 0, reconnects: 0 },
    latency_ms: { before: latency, during: latency, after: latency },
    ...{ gap_ms: 20, gap_at_ms: 10, gap_minus_downtime_ms: 1 },
  };

  it('is of one that answers nothing any more, not of one that lost some or was asked nothing', () => {
    const after = { ...client, latency_ms: { ...client.latency_ms, after: none } };
    expect([client, after, { ...after, lost: 0 }].map(isUnserved)).toEqual([false, true, false]);
  });

  it('fails what was completed, and leaves every other end as it was', () => {
    const completed = trialRecord(facts);
    expect(failedForClients(completed, 'no answer')).toMatchObject({
      ...{ status: 'failed', reason: 'the clients: no answer', downtime_ms: 50 },
    });
    for (const status of ['failed', 'cancelled', 'lost'] as const) {
      const ended = emptyTrial('pre-copy', 1, status, 'why');
      expect(failedForClients(ended, 'no answer')).toEqual(ended);
    }
  });
});

describe('results.json', () => {
  const committed = (name: string): unknown =>
    JSON.parse(readFileSync(`docs/schema/${name}.schema.json`, 'utf8'));

  it('keeps to the schema in docs, for a whole trial and for an empty one', () => {
    const schema = z.fromJSONSchema(committed('results') as Parameters<typeof z.fromJSONSchema>[0]);
    const result = {
      godwit_version: '0.1.0',
      recorded_at: new Date(0).toISOString(),
      machine: machineRecord(),
      spec: { name: 'quickstart' },
      trials: [trialRecord(facts), emptyTrial('pre-copy', 2, 'failed', 'no host has room')],
    };
    const stored: unknown = JSON.parse(JSON.stringify(result));
    expect(schema.safeParse(stored).error?.issues).toBeUndefined();
    expect(schema.safeParse({ ...result, trials: [{ technique: 'pre-copy' }] }).success).toBe(false);
    expect(schema.safeParse({ ...result, surplus: 1 }).success).toBe(false);
  });

  it('has a schema in docs that is what the program uses', () => {
    expect(committed('results')).toEqual(JSON.parse(JSON.stringify(resultsJsonSchema())));
  });
});

describe('the transforms of a record', () => {
  const lz4 = {
    name: 'compression',
    variant: 'lz4',
    pagesIn: 100n,
    bytesIn: 400_000n,
    bytesOut: 100_000n,
    hits: 90n,
    overflows: 10n,
    cpuS: 0.5,
    timeMs: 600,
    codecs: [{ codec: 'lz4', batches: 2n, bytesIn: 400_000n, bytesOut: 100_000n, cpuS: 0.5 }],
  };

  it('say what each saved, and what it cost on both hosts', () => {
    const transforms = [{ name: 'zero', pagesIn: 50n }, lz4];
    const undone = { name: 'compression', pagesIn: 90n, cpuS: 0.1, timeMs: 120 };
    const [zero, compression] = trialRecord({
      ...facts,
      report: {
        ...report,
        sourceReport: SourceReport.fromPartial({ ...sourceReport, transforms }),
        destinationReport: DestinationReport.fromPartial({
          ...report.destinationReport,
          transforms: [undone],
        }),
      },
    }).transforms!;
    expect(zero).toMatchObject({ name: 'zero', variant: null, ratio: null, destination_cpu_s: null });
    expect(compression).toMatchObject({
      ...{ name: 'compression', variant: 'lz4', pages_in: 100, bytes_in: 400_000, bytes_out: 100_000 },
      ...{ ratio: 0.25, hits: 90, misses: 0, overflows: 10, cpu_s: 0.5, time_ms: 600 },
      ...{ destination_cpu_s: 0.1, destination_time_ms: 120 },
      codecs: [{ codec: 'lz4', batches: 2, bytes_in: 400_000, bytes_out: 100_000, cpu_s: 0.5 }],
    });
  });

  it('are unknown when the source did not live to tell', () => {
    expect(trialRecord({ ...facts, report: { ...report, sourceReport: undefined } }).transforms).toBeNull();
  });
});

it('what rules did stands there in their order, by the time since the acceptance', () => {
  const decisions = [
    { atMs: 10_100, rule: 'kubevirt', what: 'the downtime limit is 150 ms', value: 150 },
    { atMs: 10_490, rule: 'on-timeout', what: 'pauses the guest', value: 0 },
  ];
  const told = trialRecord({ ...facts, report: { ...report, sourceReport: { ...sourceReport, decisions } } });
  expect(told.decisions).toEqual([
    { at_ms: 100, rule: 'kubevirt', what: 'the downtime limit is 150 ms', value: 150 },
    { at_ms: 490, rule: 'on-timeout', what: 'pauses the guest', value: 0 },
  ]);
  expect(trialRecord({ ...facts, report: { ...report, sourceReport: undefined } }).decisions).toBeNull();
});
