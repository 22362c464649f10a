/**
 * Goal: a host that is asked to end leaves no guest behind that another host could have, and ends whether one could or
 * not. Method: real hosts with --drain, asked with SIGTERM while guests run on them, with and without room
 * elsewhere, with moves that never end, alone and all at once.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { HostEntry } from '../../proto/generated/godwit/v1/coordinator.ts';
import { FailpointAction, MigrationPhase, PostcopyPush } from '../../proto/generated/godwit/v1/migration.ts';
import { callUnary } from '../../proto/rpc.ts';
import {
  type ExitStatus,
  endAllProcesses,
  godwit,
  type StartedProcess,
  waitFor,
} from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, type RunningMigration, Testbed } from '../support/testbed.ts';

const HOSTS = ['host-1', 'host-2', 'host-3'];
/** Longer than any test waits: whoever waits for it in vain fails. */
const PATIENT = ['--drain', '3600s'];
const IN_ORDER: ExitStatus = { code: 0, signal: null };
/** More than fits beside a guest of 16 MiB on a host of the testbed (256 MiB). */
const LARGE = 250n * 1024n * 1024n;

let testbed: Testbed | undefined;

afterEach(async () => {
  await testbed?.close();
  testbed = undefined;
  await endAllProcesses();
});

async function start(
  drain: readonly string[],
  hosts: readonly string[] = HOSTS,
  leaseMs = LONG_LEASE_MS,
): Promise<Testbed> {
  testbed = new Testbed(leaseMs);
  await testbed.startCoordinator();
  for (const name of hosts) await testbed.startHost(name, drain);
  return testbed;
}

async function hostEntry(it: Testbed, name: string): Promise<HostEntry> {
  const call = { what: 'listing hosts', deadlineMs: DEADLINES_MS.query };
  const { hosts } = await callUnary(it.client, 'listHosts', {}, call);
  return hosts.find(({ host }) => host === name)!;
}

function isDraining(it: Testbed, name: string): Promise<void> {
  return waitFor(async () => (await hostEntry(it, name)).draining, `${name} to be drained`);
}

/** A migration that stays where it is: it has begun, and does not end by itself. */
async function heldMigration(it: Testbed, guest: string, to: string): Promise<RunningMigration> {
  const point = 'round-1';
  const failpoints = [{ point, action: FailpointAction.FAILPOINT_ACTION_HOLD, durationMs: 600_000 }];
  const migration = it.migrate(guest, to, { failpoints });
  await migration.stands(point);
  return migration;
}

async function expectRunsOn(it: Testbed, guest: string, hosts: readonly string[]): Promise<void> {
  const { owner, lost } = await it.guest(guest);
  expect(lost).toBe('');
  expect(hosts).toContain(owner);
  const before = (await it.operations(owner, guest))!;
  await waitFor(async () => (await it.operations(owner, guest))! > before, `${guest} to go on at ${owner}`);
  expect(await it.audit(guest)).toMatchObject({ faultCount: 0n, evidence: 'ledger' });
}

describe('a host that is asked to end', () => {
  test('has its guests run on at the other hosts, and ends in order', async () => {
    const it = await start(PATIENT);
    await it.createGuest(guestSpec('web-1'), 'host-1');
    await it.createGuest(guestSpec('web-2'), 'host-1');
    const host = it.askToEnd('host-1');
    expect(await host.end(), host.describe()).toEqual(IN_ORDER);
    expect(host.stderr).toBe('');
    for (const guest of ['web-1', 'web-2']) await expectRunsOn(it, guest, ['host-2', 'host-3']);
  });

  test('waits for the pages of one whose migration nobody looks after any more, and has it moved on', async () => {
    // A coordinator that comes back knows the hosts soon.
    const it = await start(PATIENT, HOSTS, 6_000);
    // A part of it is touched at once; the rest comes when the push begins.
    const workload = { ...guestSpec('web-1').workload!, hot: 1 };
    await it.createGuest(guestSpec('web-1', { workload }), 'host-1');
    const push = PostcopyPush.POSTCOPY_PUSH_NONE;
    const migration = it.migrate('web-1', 'host-2', {
      technique: 'post-copy',
      push,
      totalTimeLimitMs: 10_000,
    });
    const { MIGRATION_PHASE_POSTCOPY_ACTIVE } = MigrationPhase;
    await waitFor(async () => {
      const { owner } = await it.guest('web-1');
      return owner === 'host-2' && migration.progress?.phase === MIGRATION_PHASE_POSTCOPY_ACTIVE;
    }, 'the guest to run at host-2 while pages of it are at host-1');
    await it.killCoordinator();
    await it.startCoordinator();
    await waitFor(async () => {
      const call = { what: 'listing hosts', deadlineMs: DEADLINES_MS.query };
      return (await callUnary(it.client, 'listHosts', {}, call)).hosts.length === HOSTS.length;
    }, 'the hosts to be back');
    const host = it.askToEnd('host-2');
    expect(await host.end(), host.describe()).toEqual(IN_ORDER);
    expect(host.stderr).toBe('');
    await expectRunsOn(it, 'web-1', ['host-1', 'host-3']);
  });

  test('ends when there is no room elsewhere, and says what is lost with it', async () => {
    const it = await start(PATIENT, ['host-1', 'host-2']);
    await it.createGuest(guestSpec('filler', { memoryBytes: LARGE }), 'host-2');
    await it.createGuest(guestSpec('web-1', { memoryBytes: 16n * 1024n * 1024n }), 'host-1');
    const host = it.askToEnd('host-1');
    expect(await host.end(), host.describe()).toEqual(IN_ORDER);
    expect(host.stderr).toMatch(/"web-1" could not be moved and is parked: no room .* 16 MiB/);
  });

  test('ends when its time is over, though a guest is still being moved', async () => {
    const it = await start(['--drain', '500ms'], ['host-1', 'host-2']);
    await it.createGuest(guestSpec('web-1'), 'host-1');
    await heldMigration(it, 'web-1', 'host-2');
    const host = it.askToEnd('host-1');
    expect(await host.end(), host.describe()).toEqual(IN_ORDER);
    expect(host.stderr).toMatch(/"web-1" could not be moved and is parked: .* 0.5 s/);
  });

  test('ends at once when it is asked again', async () => {
    const it = await start(PATIENT, ['host-1', 'host-2']);
    await it.createGuest(guestSpec('web-1'), 'host-1');
    await heldMigration(it, 'web-1', 'host-2');
    it.askToEnd('host-1');
    await isDraining(it, 'host-1');
    const host = it.askToEnd('host-1');
    expect(await host.end(), host.describe()).toEqual({ code: 1, signal: null });
  });

  test('ends when the coordinator is gone', async () => {
    const it = await start(PATIENT, ['host-1']);
    await it.createGuest(guestSpec('web-1'), 'host-1');
    await it.killCoordinator();
    const host = it.askToEnd('host-1');
    expect(await host.end(), host.describe()).toEqual(IN_ORDER);
    expect(host.stderr).toMatch(/"web-1" could not be moved and is parked: .*no answer from/);
  });

  test('ends with all the others, when all are asked at once', async () => {
    const it = await start(PATIENT);
    for (const name of HOSTS) await it.createGuest(guestSpec(`on-${name}`), name);
    const hosts: StartedProcess[] = HOSTS.map((name) => it.askToEnd(name));
    for (const host of hosts) expect(await host.end(), host.describe()).toEqual(IN_ORDER);
    // The last one had nowhere to send its guests.
    expect(hosts.map(({ stderr }) => stderr).join('')).toContain('could not be moved and is parked');
  });
});

describe('godwit drain', () => {
  test('empties a host, which gets no guests until it is undone', async () => {
    const it = await start([], ['host-1', 'host-2']);
    const testbedFlag = ['--coordinator', it.address];
    await it.createGuest(guestSpec('web-1'), 'host-1');
    const drained = await godwit(['drain', 'host-1', ...testbedFlag]);
    expect(drained.status, drained.describe()).toEqual(IN_ORDER);
    expect(drained.stdout).toMatch(/web-1 is on host-2\nhost-1 is drained/);
    await expectRunsOn(it, 'web-1', ['host-2']);
    expect((await godwit(['hosts', ...testbedFlag])).stdout).toMatch(/host-1 +draining/);

    await it.createGuest(guestSpec('web-2'), '');
    expect(await it.guest('web-2')).toMatchObject({ owner: 'host-2' });
    const refusal = 'host-1 is being drained and takes no guests';
    await expect(it.createGuest(guestSpec('web-3'), 'host-1')).rejects.toThrow(refusal);
    await expect(it.migrate('web-1', 'host-1').ended).rejects.toThrow(refusal);

    const nowhere = await godwit(['drain', 'host-2', ...testbedFlag]);
    expect(nowhere.status, nowhere.describe()).toEqual({ code: 1, signal: null });
    expect(nowhere.stdout).toMatch(/web-1 could not be moved: .*host-1 is being drained/);

    const undone = await godwit(['drain', 'host-1', '--undo', ...testbedFlag]);
    expect(undone.status, undone.describe()).toEqual(IN_ORDER);
    const again = await godwit(['drain', 'host-2', ...testbedFlag]);
    expect(again.status, again.describe()).toEqual(IN_ORDER);
    for (const guest of ['web-1', 'web-2']) await expectRunsOn(it, guest, ['host-1']);
  });
});
