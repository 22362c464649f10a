/**
 * What every technique must keep to, whatever the guest does and however it is sent: the guest is whole, runs
 * once and goes on where it stopped, what was sent adds up, and the record says all of it. Method: both ends of
 * real migrations in one process, over real sockets. A new technique or workload is covered as soon as it has
 * its name.
 */

import { randomInt } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { Guest } from '../../hosts/guest/guest.ts';
import type { GuestSpec, WorkloadSpec } from '../../proto/generated/godwit/v1/guest.ts';
import {
  MigrationPhase,
  MigrationReport,
  type PostcopySourceReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { hasLatePages } from '../../proto/migration-options.ts';
import { TECHNIQUES, WORKLOADS } from '../../proto/names.ts';
import { trialRecordSchema } from '../../records/result-record.ts';
import { trialRecord } from '../../records/trial-record.ts';
import { createSchedule, WORKLOAD_FIELDS } from '../../workloads/registry.ts';
import type { Schedule } from '../../workloads/schedule.ts';
import { contextOf, PAGE_COUNT, SAMPLE_SPECS } from '../unit/workloads/support.ts';
import { type Ends, EnginePair, guestSpec, optionsOf, until } from './engine-pair.ts';

/** Of every guest; each failure names it. GODWIT_TEST_SEED repeats a run. */
const SEED = BigInt(process.env.GODWIT_TEST_SEED ?? randomInt(2 ** 32));
/** So many that some are written in every round. */
const RATE = 10_000;
/** More than any guest ever comes to. */
const FOR_EVER_MS = 1e9;

let pair: EnginePair | undefined;

afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

/** The sample of a workload, faster if it has a rate, in a guest of the sample's size. */
function specOf(sample: WorkloadSpec, vcpuCount: number): GuestSpec {
  const hasRate = WORKLOAD_FIELDS[sample.kind as keyof typeof WORKLOAD_FIELDS].includes('rate');
  const workload = hasRate ? { ...sample, rate: RATE } : sample;
  return { ...guestSpec(sample.kind, 0, vcpuCount), seed: SEED, workload };
}

/** What a guest's work is counted in, and how much of it there is to do. */
function scheduleOf({ workload }: GuestSpec): { unit: Schedule['unit']; dueInAll: number } {
  const { unit, dueBy } = createSchedule(contextOf(workload!));
  return { unit, dueInAll: dueBy(FOR_EVER_MS) };
}

/** A guest at the source that has been seen to do something before it moves, if it ever does. */
async function workingGuest(spec: GuestSpec): Promise<Guest> {
  const guest = await Guest.create(spec);
  const seen = (): number => new Set(guest.series.since(0).operations.filter((count) => count > 0)).size;
  if (scheduleOf(spec).dueInAll > 0) await until(() => seen() > 1);
  return guest;
}

/** One copy: what was done at the source was done before the pause, and at the destination after it. */
async function expectRanOnce(moved: EnginePair, { outcome, result }: Ends): Promise<void> {
  const { source, destination } = moved;
  const { parkedAtMs } = outcome.report!;
  const { resumedAtMs } = result.report;
  expect(moved.isFreed).toBe(true);
  expect(parkedAtMs).toBeLessThanOrEqual(resumedAtMs);
  expect(new Set(source.series.since(parkedAtMs).operations).size).toBe(1);
  const { atMs, operations } = destination.series.since(0);
  expect(operations.filter((count, sample) => count > 0 && atMs[sample]! < resumedAtMs)).toEqual([]);
  expect([source.running, destination.running]).toEqual([false, true]);
  expect([moved.asked, moved.abandoned]).toEqual([[], []]);
  const { unit, dueInAll } = scheduleOf(source.spec);
  const field = unit === 'operations' ? 'operations' : 'pageWrites';
  const done = (): number => source.series.counts()[field] + destination.series.counts()[field];
  const before = done();
  await until(() => done() > before || before === dueInAll);
}

/** Each page was sent, and again only what was written since; and nothing is told in two ways. */
function expectAddsUp({ outcome, result }: Ends, writtenPages: number): void {
  const { rounds, postcopy, ...source } = outcome.report!;
  const sum = (field: 'pages' | 'zeroPages' | 'resentPages'): bigint =>
    rounds.reduce((total, round) => total + round[field], 0n);
  const sentLate = postcopy === undefined ? 0n : postcopy.pushedPages + postcopy.demandedPages;
  expect(sum('pages') + sentLate).toBe(source.normalPages + source.zeroPages);
  expect(source.normalPages + source.zeroPages).toBe(BigInt(PAGE_COUNT) + source.resentPages);
  expect(source.precopyBytes + source.downtimeBytes + (postcopy?.sentBytes ?? 0n)).toBe(
    source.transferredBytes,
  );
  expect(result.report.refused).toBe(0n);
  // What has been sent and not been written since is there, and is not sent again.
  const validPages = Math.max(Number(sum('pages') - sum('resentPages')) - writtenPages, 0);
  const lastPages = Number(postcopy?.missingPages ?? 0n) + Number(rounds.at(-1)!.pages);
  expect(lastPages).toBeLessThanOrEqual(rounds.length === 1 ? PAGE_COUNT : PAGE_COUNT - validPages);
  if (postcopy !== undefined) expectEachOnce(postcopy, result);
}

/** What the destination lacked when the guest resumed there came once, asked for or not. */
function expectEachOnce(source: PostcopySourceReport, { report }: Ends['result']): void {
  const destination = report.postcopy!;
  expect(source.pushedPages + source.demandedPages).toBe(source.missingPages);
  expect(destination.placedPages).toBe(source.missingPages);
  expect(destination.requests).toBe(source.demandedPages + source.prefetchHits);
  expect(destination.faults).toBeGreaterThanOrEqual(destination.requests);
  // Each vCPU may be about to wake up.
  const unfinished =
    destination.faults - destination.faultLatency.reduce((sum, { faults }) => sum + faults, 0n);
  expect(Number(unfinished)).toBeLessThanOrEqual(destination.vcpuBlocktimeMs.length);
  expect(destination.completeAtMs).toBeGreaterThanOrEqual(report.resumedAtMs);
  expect(destination.recoveries).toBe(0);
}

/** The record of a trial has everything that such a migration and such a guest have. */
async function expectRecorded(moved: EnginePair, { outcome, result }: Ends): Promise<void> {
  const { source, destination, options } = moved;
  const series = source.series.since(0);
  const report = MigrationReport.fromPartial({
    guest: source.spec.name,
    source: 'host-1',
    destination: 'host-2',
    phase: outcome.phase,
    owner: 'host-2',
    options,
    sourceReport: { ...outcome.report!, series },
    destinationReport: result.report,
  });
  const record = trialRecordSchema.parse(
    trialRecord({
      trial: 1,
      report,
      destinationSeries: destination.series.since(0),
      audit: await destination.audit(),
      requestedPagesPerS: RATE,
      achievedPagesPerS: RATE,
    }),
  );
  const unknown = Object.entries({ ...record.downtime_parts, ...record.postcopy, ...record })
    .filter(([, value]) => value === null)
    .map(([name]) => name);
  expect(unknown.toSorted()).toEqual(
    [
      'background',
      'clients',
      'estimates',
      'free_pages',
      'network',
      'prediction',
      'reason',
      'switched_by_hand_at_ms',
      'throttle',
      'variant',
      ...(record.rounds!.length === 1 ? ['convergence'] : []),
      ...(hasLatePages(options) ? [] : ['postcopy']),
      ...(record.postcopy?.fault_latency === null ? ['fault_latency'] : []),
      ...(scheduleOf(source.spec).dueInAll === 0 ? ['degradation_percent'] : []),
    ].toSorted(),
  );
  expect(record.audit).toMatchObject({ faults: [], fault_count: 0, evidence: 'ledger' });
  expect(record.audit!.pages_checked).toBe(PAGE_COUNT);
}

describe.each(TECHNIQUES)('%s moves', (technique) => {
  describe.each(WORKLOADS)(`%s (seed ${SEED})`, (kind) => {
    test.each([
      [1, 1],
      [1, 4],
      [4, 1],
      [4, 4],
    ])('on %i vCPUs over %i channels', async (vcpuCount, channels) => {
      const guest = await workingGuest(specOf(SAMPLE_SPECS[kind], vcpuCount));
      const moving = await EnginePair.of(guest, optionsOf(technique, { channels }));
      pair = moving;
      const { writes } = moving.source.shared;
      const before = new Uint32Array(writes).slice();
      await moving.begin();
      const ends = await moving.ends();
      expect(ends.outcome).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_COMPLETED, reason: '' });
      expect(ends.result).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_COMPLETED, reason: '' });
      await expectRanOnce(moving, ends);
      expectAddsUp(ends, pagesThatDiffer(before, new Uint32Array(writes)));
      await expectRecorded(moving, ends);
    });
  });
});

/** Of two states of the vCPUs' counts of writes: how many pages some vCPU has written between them. */
function pagesThatDiffer(before: Uint32Array, after: Uint32Array): number {
  const pages = new Set<number>();
  for (const [index, count] of after.entries()) if (count !== before[index]) pages.add(index % PAGE_COUNT);
  return pages.size;
}
