/**
 * Goal: a prediction moves nothing and always has its band; what is chosen keeps to its goal or says that nothing
 * does; a link that changes between prediction and move is named. Method: real processes, asked through the
 * coordinator.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { WorkloadSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { FailpointAction, MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import { AUTO, TECHNIQUES } from '../../proto/names.ts';
import { UNSHAPED_LINK } from '../../proto/network-shape.ts';
import { callUnary } from '../../proto/rpc.ts';
import { trialRecord } from '../../records/trial-record.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, RunningMigration, Testbed } from '../support/testbed.ts';

const HOSTS = ['host-1', 'host-2'];
const FAST_BYTES_PER_S = 50_000_000;
const SLOW_BYTES_PER_S = 10_000_000;
const GOAL = { maxDowntimeMs: 0, maxTotalTimeMs: 0, maxDegradationPercent: 0, mayLoseOnLinkFailure: false };
const call = { what: 'test', deadlineMs: DEADLINES_MS.guestWork };

let testbed: Testbed;

beforeAll(async () => {
  testbed = await Testbed.start(HOSTS, LONG_LEASE_MS);
  await link(FAST_BYTES_PER_S);
});

afterAll(async () => {
  await testbed.close();
  await endAllProcesses();
});

async function link(rateBytesPerS: number): Promise<void> {
  const limited = { ...UNSHAPED_LINK, rateBytesPerS };
  const shape = { egress: limited, ingress: limited, peers: [] };
  for (const host of HOSTS)
    await callUnary(testbed.client, 'setNetwork', { host, shape, faults: false }, call);
}

/** Moves a guest of its own with `auto`, and proves it afterwards. */
async function chosenFor(guest: string, goal: Partial<typeof GOAL>) {
  await testbed.createGuest(guestSpec(guest), 'host-1');
  const options = { technique: AUTO, goal: { ...GOAL, ...goal } };
  const report = await testbed.migrate(guest, 'host-2', options).ended;
  expect(report).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_COMPLETED, owner: 'host-2' });
  expect(await testbed.audit(guest)).toMatchObject({ faultCount: 0n });
  await testbed.destroyGuest(guest);
  const { prediction, options: used } = report;
  const taken = prediction!.techniques[prediction!.chosen!]!;
  expect(used?.technique).toBe(taken.technique);
  return { prediction: prediction!, technique: taken.technique };
}

test('a prediction tells of every technique with its bands, and the guest runs on where it is', async () => {
  await testbed.createGuest(guestSpec('still'), 'host-1');
  const request = { guest: 'still', destination: '', options: defaultMigrationOptions('pre-copy') };
  const answer = await callUnary(testbed.client, 'predictMigration', request, call);
  expect(answer).toMatchObject({ source: 'host-1', destination: 'host-2' });
  const { techniques, basis, chosen } = answer.prediction!;
  expect(chosen).toBeUndefined();
  expect(techniques.map(({ technique }) => technique)).toEqual(TECHNIQUES);
  for (const { totalTimeMs, downtimeMs, transferredBytes, degradationPercent } of techniques) {
    for (const value of [totalTimeMs, downtimeMs, transferredBytes, degradationPercent]) {
      expect(value!.low).toBeLessThanOrEqual(value!.value);
      expect(value!.high).toBeGreaterThan(value!.low);
    }
  }
  // It writes and the link carries: neither was taken for nothing.
  expect(basis!.dirtyRatePagesPerS).toBeGreaterThan(0);
  expect(basis!.bandwidthBytesPerS).toBeGreaterThan(0);
  expect(await testbed.guest('still')).toMatchObject({ owner: 'host-1', epoch: 1n, migration: '' });
  expect(await testbed.audit('still')).toMatchObject({ faultCount: 0n });
  await testbed.destroyGuest('still');
});

describe('auto', () => {
  test('does not choose what may lose the guest with the link unless it may', async () => {
    const { technique, prediction } = await chosenFor('careful', {});
    expect(['stop-and-copy', 'pre-copy']).toContain(technique);
    expect(prediction.reason).toMatch(/post-copy and hybrid may lose the guest with the link/);
  });

  test('says so when nothing meets the goal, and takes what misses it least', async () => {
    const { technique, prediction } = await chosenFor('hopeless', { maxDowntimeMs: 0.01 });
    expect(prediction.meetsGoal).toBe(false);
    expect(prediction.reason).toMatch(/^nothing meets the goal; /);
    // Its pause is the whole memory.
    expect(technique).not.toBe('stop-and-copy');
  });

  test('says that a goal is met when it is that generous', async () => {
    const { prediction } = await chosenFor('generous', {
      maxDowntimeMs: 600_000,
      mayLoseOnLinkFailure: true,
    });
    expect(prediction).toMatchObject({ meetsGoal: true });
    expect(prediction.reason).toMatch(/meet.* for certain/);
  });

  test('of a guest that cannot be probed leaves it where it is, and says why', async () => {
    await testbed.createGuest(guestSpec('paused'), 'host-1');
    await callUnary(testbed.host('host-1'), 'pauseGuest', { guest: 'paused' }, call);
    const report = await testbed.migrate('paused', 'host-2', { technique: AUTO }).ended;
    expect(report).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_FAILED, owner: 'host-1' });
    expect(report.reason).toMatch(/does not run/);
    await testbed.destroyGuest('paused');
  });

  test('is refused a goal that it is not asked to choose for', async () => {
    await testbed.createGuest(guestSpec('aimless'), 'host-1');
    const aimless = testbed.migrate('aimless', 'host-2', { technique: 'pre-copy', goal: GOAL }).ended;
    await expect(aimless).rejects.toThrow(/a goal is for technique auto/);
    await testbed.destroyGuest('aimless');
  });
});

test('a link that changes between prediction and move is named in the record', async () => {
  const workload = WorkloadSpec.create({ kind: 'idle' });
  await testbed.createGuest(guestSpec('changed', { workload }), 'host-1');
  const point = { point: 'setup', action: FailpointAction.FAILPOINT_ACTION_HOLD, durationMs: 600_000 };
  const options = { ...defaultMigrationOptions('pre-copy'), failpoints: [point] };
  const request = { guest: 'changed', destination: 'host-2', options, predict: true };
  const migration = new RunningMigration(testbed.client, request);
  await migration.stands('setup');
  await link(SLOW_BYTES_PER_S);
  await testbed.releaseFailpoint('host-1', await migration.name());
  const report = await migration.ended;
  await link(FAST_BYTES_PER_S);
  const record = trialRecord({
    trial: 1,
    report,
    destinationSeries: { atMs: [], operations: [], pageWrites: [] },
    audit: null,
    requestedPagesPerS: null,
    achievedPagesPerS: null,
  });
  expect(record.prediction).toMatchObject({ technique: 'pre-copy', reason: null });
  expect(record.prediction!.link_changed).toMatch(/of the link, \d+ % less than the .* of the probe/);
  expect(record.prediction!.total_time_ms.measured).toBe(record.total_time_ms);
  await testbed.destroyGuest('changed');
});

test('a migration that is cancelled while it is predicted leaves its guest where it is', async () => {
  await testbed.createGuest(guestSpec('recalled'), 'host-1');
  // Where it would stand if it had been predicted before the cancel comes.
  const point = { point: 'setup', action: FailpointAction.FAILPOINT_ACTION_HOLD, durationMs: 600_000 };
  const migration = testbed.migrate('recalled', 'host-2', { technique: AUTO, failpoints: [point] });
  await waitFor(async () => (await testbed.guest('recalled')).migration !== '', 'the migration to begin');
  const asked = { guest: 'recalled', destination: '', options: defaultMigrationOptions('pre-copy') };
  const other = callUnary(testbed.client, 'predictMigration', asked, call);
  await expect(other).rejects.toThrow(/is being moved by migration/);
  await callUnary(testbed.client, 'cancelMigration', { target: 'recalled' }, call);
  const report = await migration.ended;
  expect(report).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_CANCELLED, owner: 'host-1' });
  expect(await testbed.audit('recalled')).toMatchObject({ faultCount: 0n });
  await testbed.destroyGuest('recalled');
});
