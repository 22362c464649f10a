/** `godwit switch` and `godwit recover` with real processes: what they do, refuse and say. */

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { RateUnit, WorkloadSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { MigrationPhase, PostcopyPush, PostcopyRecovery } from '../../proto/generated/godwit/v1/migration.ts';
import { LinkFault, LinkFaultKind, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { callUnary } from '../../proto/rpc.ts';
import { trialRecordSchema } from '../../records/result-record.ts';
import { endAllProcesses, godwit, startGodwit, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, type RunningMigration, Testbed } from '../support/testbed.ts';

const GUEST = 'moving';
const { MIGRATION_PHASE_POSTCOPY_ACTIVE, MIGRATION_PHASE_POSTCOPY_PAUSED } = MigrationPhase;
/** Nothing is pushed, so that it goes on for as long as the test likes. */
const DEMAND_ONLY = {
  technique: 'post-copy',
  push: PostcopyPush.POSTCOPY_PUSH_NONE,
  totalTimeLimitMs: 3_600_000,
};

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start(['host-1', 'host-2'], LONG_LEASE_MS);
});

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

/** Runs a command on the testbed; answers its exit code and what it printed. */
async function run(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await godwit([...args, '--coordinator', testbed.address]);
  return `exit ${status!.code}: ${stdout}${stderr}`;
}

test('a pre-copy that never converges is switched by hand, and its record says so', async () => {
  const rate = { rate: 40_000, rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S };
  const workload = WorkloadSpec.fromPartial({ kind: 'uniform', ...rate });
  await testbed.createGuest(guestSpec(GUEST, { workload }), 'host-1');
  const endless = ['--max-bandwidth', '8MiB/s', '--max-rounds', '1000', '--total-time-limit', '1h'];
  const moved = startGodwit([
    ...['migrate', GUEST, ...endless, '--audit', '--json'],
    ...['--coordinator', testbed.address],
  ]);
  await waitFor(
    async () => ((await testbed.guest(GUEST)).progress?.round ?? 0) >= 2,
    'the second round of the migration',
  );
  expect(await run('switch', GUEST)).toMatch(/^exit 0: .*goes on as post-copy/s);
  expect((await moved.end()).code, moved.describe()).toBe(0);
  const { owner, ...told } = JSON.parse(moved.stdout) as { owner: string };
  const record = trialRecordSchema.parse(told);
  expect(record).toMatchObject({ status: 'completed', convergence: 'switch-by-hand' });
  expect(owner).toBe('host-2');
  expect(record.switched_by_hand_at_ms).toBeGreaterThan(0);
  expect(record.postcopy!.placed_pages).toBe(record.postcopy!.missing_pages);
  expect(record.audit!.fault_count).toBe(0);
  const late = await run('switch', GUEST);
  expect(late).toMatch(/^exit 1: .*no migration of that name and no moving guest "moving"/s);
});

test('a pre-copy whose time is up goes on as post-copy by itself, and its record says so', async () => {
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
  // Its first round would take longer than any test.
  const slow = [
    '--max-bandwidth',
    '50KiB/s',
    '--total-time-limit',
    '1h',
    '--completion-timeout-per-gib',
    '1s',
  ];
  const moved = startGodwit([
    ...['migrate', GUEST, ...slow, '--on-timeout', 'post-copy', '--audit', '--json'],
    ...['--coordinator', testbed.address],
  ]);
  expect((await moved.end()).code, moved.describe()).toBe(0);
  const { owner, ...told } = JSON.parse(moved.stdout) as { owner: string };
  const record = trialRecordSchema.parse(told);
  expect(owner).toBe('host-2');
  expect(record).toMatchObject({ status: 'completed', convergence: 'completion-timeout' });
  expect(record.switched_by_hand_at_ms).toBeNull();
  expect(record.decisions).toMatchObject([{ rule: 'on-timeout' }]);
  expect(record.postcopy!.placed_pages).toBe(record.postcopy!.missing_pages);
  expect(record.audit!.fault_count).toBe(0);
});

/** The guest runs at host-2, most of its pages are at host-1, and what is between them can be reset. */
async function spread(changes: object): Promise<RunningMigration> {
  const call = { what: 'shaping', deadlineMs: DEADLINES_MS.guestWork };
  const network = { host: 'host-1', shape: NetworkShape.fromPartial({}), faults: true };
  await callUnary(testbed.client, 'setNetwork', network, call);
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
  const migration = testbed.migrate(GUEST, 'host-2', { ...DEMAND_ONLY, ...changes });
  await stands(migration, false);
  return migration;
}

async function stands(migration: RunningMigration, paused: boolean): Promise<void> {
  const phase = paused ? MIGRATION_PHASE_POSTCOPY_PAUSED : MIGRATION_PHASE_POSTCOPY_ACTIVE;
  await waitFor(
    async () => {
      const { owner } = await testbed.guest(GUEST);
      const { progress } = migration;
      return owner === 'host-2' && progress?.phase === phase && progress.arrival?.paused === paused;
    },
    `the migration to be ${paused ? 'paused' : 'active'}`,
  );
}

async function reset(): Promise<void> {
  const call = { what: 'resetting', deadlineMs: DEADLINES_MS.guestWork };
  const fault = LinkFault.fromPartial({ kind: LinkFaultKind.LINK_FAULT_KIND_RESET });
  await callUnary(testbed.client, 'setLinkFault', { host: 'host-1', fault }, call);
}

test('a post-copy that is recovered by hand waits for that, and can be destroyed while it does', async () => {
  const migration = await spread({ recovery: PostcopyRecovery.POSTCOPY_RECOVERY_MANUAL });
  expect(await run('recover', GUEST)).toMatch(/^exit 1: .*not in postcopy-paused: it has its/s);
  await reset();
  await stands(migration, true);
  expect(await run('guests')).toMatch(
    /moving is being moved: postcopy-paused .*no link.* faults .*blocktime/,
  );
  expect(await run('recover', GUEST)).toMatch(/^exit 0: .*has its link again/s);
  await stands(migration, false);
  await reset();
  await stands(migration, true);
  expect(await run('destroy', GUEST)).toMatch(/^exit 0/);
  expect((await migration.ended).reason).toContain('the guest was destroyed');
  // Nobody waits for anybody: the pages at the source are free as well.
  for (const host of ['host-1', 'host-2']) expect(await testbed.operations(host, GUEST)).toBeUndefined();
  expect(await run('recover', GUEST)).toMatch(/^exit 1: .*no moving guest "moving"/s);
});

test('a guest whose pages are lost is not recovered, and says why', async () => {
  const migration = await spread({ recoveryLimitMs: 500 });
  await testbed.killHost('host-1');
  expect((await migration.ended).reason).toMatch(/pages were lost with host-1/);
  expect(await run('recover', GUEST)).toMatch(
    /^exit 1: .*cannot be recovered: \d+ pages were lost with host-1.*can only be destroyed/s,
  );
});
