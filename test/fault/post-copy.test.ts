/**
 * Goal: a guest that lives on two hosts at once, since its pages are still on their way, is lost with either of
 * them, and never in silence; until then it can be used, but neither moved on nor audited. Method: real processes
 * and a post-copy that pushes nothing, so that it goes on for as long as the test likes.
 */

import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { GuestState } from '../../proto/generated/godwit/v1/guest.ts';
import { MigrationPhase, PostcopyPush } from '../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import { callStream, callUnary } from '../../proto/rpc.ts';
import { testTicket } from '../integration/wire-peer.ts';
import { expectRunsOnlyOn, heldAt } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, type RunningMigration, Testbed } from '../support/testbed.ts';

const GUEST = 'moving';
/** A part of the guest is touched at once, the rest hardly ever. */
const WORKLOAD = { ...guestSpec(GUEST).workload!, hot: 1 };
const DEMAND_ONLY = { technique: 'post-copy', push: PostcopyPush.POSTCOPY_PUSH_NONE, recoveryLimitMs: 1000 };

/** How soon a coordinator that comes back knows its hosts. */
const LEASE_MS = 5000;

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start(['host-1', 'host-2', 'host-3'], LEASE_MS, { GODWIT_PATIENCE: '3' });
  await testbed.createGuest(guestSpec(GUEST, { workload: WORKLOAD }), 'host-1');
});

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

/** The guest runs at host-2, and is settled there; most of its pages are at host-1. */
async function spread(totalTimeLimitMs: number): Promise<RunningMigration> {
  const migration = testbed.migrate(GUEST, 'host-2', { ...DEMAND_ONLY, totalTimeLimitMs });
  const { MIGRATION_PHASE_POSTCOPY_ACTIVE } = MigrationPhase;
  await waitFor(async () => {
    const { owner } = await testbed.guest(GUEST);
    return owner === 'host-2' && migration.progress?.phase === MIGRATION_PHASE_POSTCOPY_ACTIVE;
  }, 'the guest to run at host-2 while pages of it are at host-1');
  return migration;
}

const HOUR_MS = 3_600_000;

it('is neither moved on, audited nor cancelled, but can be paused and resumed', async () => {
  const migration = await spread(HOUR_MS);
  const name = await migration.name();
  const host = testbed.host('host-2');
  const call = { what: 'asking', deadlineMs: DEADLINES_MS.guestWork };
  const moving = new RegExp(`migration ${name} moves it|moved by migration ${name}`);
  await expect(testbed.audit(GUEST)).rejects.toThrow(moving);
  await expect(testbed.migrate(GUEST, 'host-3').ended).rejects.toThrow(moving);
  const settled = async (): Promise<boolean> => {
    const error = await callUnary(host, 'auditGuest', { guest: GUEST }, call).then(() => '', String);
    return /\d+ of its pages are still at host-1/.test(error);
  };
  await waitFor(settled, 'an audit to be refused for the pages that are missing');
  // Whoever asks the hosts themselves is told the same.
  const { epoch } = await testbed.guest(GUEST);
  const options = defaultMigrationOptions('pre-copy');
  const purpose = { guest: GUEST, epoch, source: 'host-2', destination: 'host-3' };
  const ticket = testTicket('m-onwards', purpose);
  const onwards = { migration: 'm-onwards', guest: GUEST, epoch, destination: 'host-3', options, ticket };
  const moved = callStream(host, 'startMigration', onwards, call)[Symbol.asyncIterator]().next();
  await expect(moved).rejects.toThrow(/cannot be moved now: [1-9]\d* pages of it are still at host-1/);
  await expect(callUnary(testbed.host('host-1'), 'destroyGuest', { guest: GUEST }, call)).rejects.toThrow(
    `migration "${name}" has it (serving)`,
  );
  const cancel = callUnary(testbed.host('host-1'), 'cancelMigration', { migration: name, reason: '' }, call);
  await expect(cancel).rejects.toThrow('past its commit point');
  await callUnary(host, 'pauseGuest', { guest: GUEST }, call);
  await callUnary(host, 'resumeGuest', { guest: GUEST }, call);
});

it('keeps its room at both hosts: what does not fit beside it is refused, and stays where it is', async () => {
  const memoryBytes = 254n * 1024n * 1024n;
  const large = guestSpec('large', {
    memoryBytes,
    content: { zero: 1, duplicate: 0, shared: 0, compressible: 0 },
  });
  await testbed.createGuest(large, 'host-3');
  await spread(HOUR_MS);
  // By the witness's record host-1 is empty. The host knows better, when the migration has begun.
  const { phase, reason, owner } = await testbed.migrate('large', 'host-1', { technique: 'post-copy' }).ended;
  expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(reason).toMatch(/"large" needs \d+ bytes of memory, \d+ of \d+ are free on this host/);
  expect(owner).toBe('host-3');
  await expect(testbed.migrate('large', 'host-2').ended).rejects.toThrow('no room for guest "large"');
  expect((await testbed.guest('large')).state).toBe(GuestState.GUEST_STATE_RUNNING);
  expect(await testbed.guest(GUEST)).toMatchObject({ owner: 'host-2', lost: '' });
});

it('can be destroyed, and its pages are freed at the other host as well', async () => {
  const migration = await spread(HOUR_MS);
  await testbed.destroyGuest(GUEST);
  const { phase, reason, owner } = await migration.ended;
  expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(reason).toContain('the guest was destroyed');
  expect(owner).toBe('');
  for (const host of ['host-1', 'host-2']) expect(await testbed.operations(host, GUEST)).toBeUndefined();
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
});

it('fails with the host that has the rest of its pages, and says how many were lost', async () => {
  const migration = await spread(HOUR_MS);
  await testbed.killHost('host-1');
  const { phase, reason, owner } = await migration.ended;
  expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(reason).toMatch(/\d+ pages were lost with host-1/);
  expect(owner).toBe('host-2');
  await waitFor(
    async () => (await testbed.guest(GUEST)).state === GuestState.GUEST_STATE_FAILED,
    'the guest to be told as failed',
  );
  await testbed.destroyGuest(GUEST);
});

it('is lost when that host dies before the commit point, and can be destroyed', async () => {
  const migration = await heldAt(testbed, GUEST, 'before-commit', { technique: 'post-copy' });
  await testbed.killHost('host-1');
  const { phase, reason, owner } = await migration.ended;
  expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(reason).toMatch(/the guest is lost: host host-1 .*; host host-2 does not have all of it/);
  expect(owner).toBe('');
  expect(await testbed.operations('host-2', GUEST)).toBe(0);
  await testbed.destroyGuest(GUEST);
  await waitFor(
    async () => (await testbed.operations('host-2', GUEST)) === undefined,
    'host-2 to let go of what it has of the guest',
  );
});

it('survives a coordinator that dies and comes back meanwhile', async () => {
  await spread(10_000);
  await testbed.killCoordinator();
  await testbed.startCoordinator();
  await waitFor(
    async () => (await testbed.audit(GUEST).catch(() => undefined)) !== undefined,
    'all pages to have come',
  );
  expect((await testbed.guest(GUEST)).owner).toBe('host-2');
  await expectRunsOnlyOn(testbed, GUEST, 'host-2');
});
