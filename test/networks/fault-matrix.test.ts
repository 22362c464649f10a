/**
 * Goal: whatever becomes of the link at whatever point of the protocol, nothing hangs and the guest runs
 * exactly once: a link that comes back lets the migration go on; a connection that is gone leaves the guest at
 * the source before the commit point, and brings it to the destination after it. Method: real processes; the
 * migration is held at the point, the fault is set on the source's NIC, the hold is released, and the link is
 * healed once the migration has run into the fault.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { GuestState, type WorkloadSpec } from '../../proto/generated/godwit/v1/guest.ts';
import {
  type MigrationOptions,
  MigrationPhase,
  PostcopyPush,
} from '../../proto/generated/godwit/v1/migration.ts';
import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type NetworkShape,
} from '../../proto/generated/godwit/v1/network.ts';
import { hasLatePages } from '../../proto/migration-options.ts';
import { type FailpointName, SWITCH_FAILPOINTS, TECHNIQUES } from '../../proto/names.ts';
import { NO_FAULT, UNSHAPED_LINK, unshapedNetwork } from '../../proto/network-shape.ts';
import { callUnary } from '../../proto/rpc.ts';
import { DESTINATION, expectRunsOnlyOn, HOSTS, heldAt, release, SOURCE } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, type RunningMigration, Testbed } from '../support/testbed.ts';

const PATIENT = { totalTimeLimitMs: 3_600_000 };
/** Rounds of some tenths of a second, so that there is something to send in round 2. */
const PACED = { ...PATIENT, maxBandwidthBytesPerS: 5_000_000, downtimeLimitMs: 0, maxRounds: 3 };
/** The first round takes minutes. */
const SLOW: NetworkShape = {
  ...unshapedNetwork(),
  egress: { ...UNSHAPED_LINK, rateBytesPerS: 20_000, queueBytes: 16_384 },
};
/** How long a migration must stand still on a link that is down; what is left of it would take a tenth. */
const DOWN_MS = 500;
const LOST = /the data connection to the destination was lost .*; migrate again when/;
/** Those whose guest runs before all its pages have come, and where they can be met then on one link. */
const LATE_TECHNIQUES = TECHNIQUES.filter((technique) => hasLatePages({ technique }));
const WHILE_LATE: readonly FailpointName[] = ['postcopy-active', 'before-complete', 'after-complete'];
const LATE_CASES = LATE_TECHNIQUES.flatMap((technique) =>
  WHILE_LATE.flatMap((point) => [100, 2000].map((cutMs) => [technique, point, cutMs] as const)),
);
/** Half of the guest is never touched; of a hybrid the half that the first round has not sent. */
const LEAVES_PAGES: Partial<WorkloadSpec> = { hot: 1 };
const LATE = { ...PATIENT, switchAfterRounds: 0, switchAfterShare: 0.5, recoveryLimitMs: 1000 };
const AFTER_COMMIT: readonly FailpointName[] = ['after-commit', 'before-resume'];

const { LINK_FAULT_KIND_CUT, LINK_FAULT_KIND_HALF_OPEN, LINK_FAULT_KIND_STALL, LINK_FAULT_KIND_RESET } =
  LinkFaultKind;
const CUT: LinkFault = { ...NO_FAULT, kind: LINK_FAULT_KIND_CUT };
const RESET: LinkFault = { ...NO_FAULT, kind: LINK_FAULT_KIND_RESET };
const STALL: LinkFault = { ...NO_FAULT, kind: LINK_FAULT_KIND_STALL, durationMs: DOWN_MS };
const { LINK_DIRECTION_EGRESS, LINK_DIRECTION_INGRESS } = LinkDirection;
const OUTWARDS_DOWN = halfOpen(LINK_DIRECTION_EGRESS);
const INWARDS_DOWN = halfOpen(LINK_DIRECTION_INGRESS);

let testbed: Testbed;
let guestCount = 0;
/** Of this test. */
const guests: string[] = [];

afterAll(endAllProcesses);

function halfOpen(direction: LinkDirection): LinkFault {
  return { ...NO_FAULT, kind: LINK_FAULT_KIND_HALF_OPEN, direction };
}

async function setFault(fault: LinkFault): Promise<void> {
  const call = { what: 'setting a fault', deadlineMs: 120_000 };
  await callUnary(testbed.client, 'setLinkFault', { host: SOURCE, fault }, call);
}

/** A fault that is over by itself is no longer shown, and no longer leads new migrations through the NIC. */
async function expectNoFault(): Promise<void> {
  const call = { what: 'asking for the fault', deadlineMs: 120_000 };
  const { fault } = await callUnary(testbed.client, 'getNetwork', { host: SOURCE }, call);
  expect(fault).toEqual(NO_FAULT);
}

/** From now on migrations of the source pass its NIC, which has this shape. */
async function shapeSource(shape: NetworkShape): Promise<void> {
  const call = { what: 'shaping the source', deadlineMs: 120_000 };
  await callUnary(testbed.client, 'setNetwork', { host: SOURCE, shape, faults: true }, call);
}

/** Two hosts for all tests of a block, and a guest for each. */
function useTestbed(leaseMs: number, env: Readonly<Record<string, string>> = {}): void {
  beforeAll(async () => {
    testbed = await Testbed.start(HOSTS, leaseMs, env);
    await shapeSource(unshapedNetwork());
  });

  afterAll(async () => {
    await testbed.close();
  });

  afterEach(async () => {
    await setFault(NO_FAULT);
    for (const guest of guests.splice(0)) await testbed.destroyGuest(guest);
  });
}

async function createGuest(workload: Partial<WorkloadSpec> = {}): Promise<string> {
  const guest = `moving-${++guestCount}`;
  const spec = guestSpec(guest, { memoryBytes: 2n * 1024n * 1024n });
  await testbed.createGuest({ ...spec, workload: { ...spec.workload!, ...workload } }, SOURCE);
  guests.push(guest);
  return guest;
}

async function heldGuestAt(
  point: FailpointName,
  options: Partial<MigrationOptions> = point === 'round-2' ? PACED : PATIENT,
): Promise<[RunningMigration, name: string]> {
  const guest = await createGuest();
  const migration = await heldAt(testbed, guest, point, options);
  return [migration, await migration.name()];
}

/** A migration whose first round is under way, without a failpoint, which would make the hosts more patient. */
async function inRoundOne(): Promise<RunningMigration> {
  const guest = await createGuest();
  await shapeSource(SLOW);
  const migration = testbed.migrate(guest, DESTINATION, PATIENT);
  await waitFor(
    () => migration.progress?.round === 1 && migration.progress.roundPagesSent > 0n,
    () => `the first pages of round 1; the migration is at ${migration.progress?.round}`,
  );
  return migration;
}

/** The migration cannot end while the link is down. */
async function expectStandsStill(migration: RunningMigration, durationMs: number): Promise<void> {
  const ended = await Promise.race([migration.ended, sleep(durationMs)]);
  expect(ended, 'the end of a migration whose link is down').toBe(undefined);
}

/** The guest runs on one host, is whole, and the other host has nothing of it. */
async function expectOneCopyOn(guest: string, owner: string): Promise<void> {
  await waitFor(
    async () => (await testbed.guest(guest)).migration === '',
    'the witness to have the guest settled',
  );
  expect(await testbed.guest(guest)).toMatchObject({ owner, lost: '' });
  const other = owner === SOURCE ? DESTINATION : SOURCE;
  await waitFor(
    async () => (await testbed.operations(other, guest)) === undefined,
    `${other} to have nothing of the guest`,
  );
  await expectRunsOnlyOn(testbed, guest, owner);
}

async function expectMoved(migration: RunningMigration): Promise<void> {
  const report = await migration.ended;
  expect(report.phase, report.reason).toBe(MigrationPhase.MIGRATION_PHASE_COMPLETED);
  expect(report.owner).toBe(DESTINATION);
  await expectOneCopyOn(report.guest, DESTINATION);
}

/** It moved over the connections that it began with: nothing was refused, and the ledger came. */
async function expectWentOn(migration: RunningMigration): Promise<void> {
  await expectMoved(migration);
  const name = await migration.name();
  const call = { what: 'asking the destination', deadlineMs: 120_000 };
  const { reason, report } = await callUnary(
    testbed.host(DESTINATION),
    'getIncoming',
    { migration: name },
    call,
  );
  expect(reason).toBe('');
  expect(report?.refused).toBe(0n);
}

async function expectStayed(migration: RunningMigration, reason: RegExp): Promise<void> {
  const report = await migration.ended;
  expect(report.phase, report.reason).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(report.owner).toBe(SOURCE);
  expect(report.reason).toMatch(reason);
  await expectOneCopyOn(report.guest, SOURCE);
}

describe('at every point', () => {
  useTestbed(LONG_LEASE_MS);

  describe.each([
    ['a cut', CUT],
    ['a link that is half open outwards', OUTWARDS_DOWN],
    ['a link that is half open inwards', INWARDS_DOWN],
  ] as const)('%s', (_, fault) => {
    test.each(SWITCH_FAILPOINTS)('at %s holds the migration, which goes on afterwards', async (point) => {
      const [migration, name] = await heldGuestAt(point);
      await setFault(fault);
      await release(testbed, point, name);
      await expectStandsStill(migration, DOWN_MS);
      await setFault(NO_FAULT);
      await expectWentOn(migration);
    });
  });

  test.each(SWITCH_FAILPOINTS)('a stall at %s ends by itself, and the migration goes on', async (point) => {
    const [migration, name] = await heldGuestAt(point);
    await setFault(STALL);
    await release(testbed, point, name);
    await expectWentOn(migration);
    await expectNoFault();
  });

  test.each(SWITCH_FAILPOINTS)('a reset at %s leaves the guest with one host', async (point) => {
    const [migration, name] = await heldGuestAt(point);
    await setFault(RESET);
    await expectNoFault();
    await release(testbed, point, name);
    if (AFTER_COMMIT.includes(point)) await expectMoved(migration);
    else await expectStayed(migration, LOST);
  });

  test.each(SWITCH_FAILPOINTS)('a reset at %s after a cut, which loses what was under way', async (point) => {
    const [migration, name] = await heldGuestAt(point);
    await setFault(CUT);
    await release(testbed, point, name);
    await expectStandsStill(migration, DOWN_MS);
    await setFault(RESET);
    // Released at before-commit the source sends COMMIT into the cut.
    const isCommitted = point === 'before-commit' || AFTER_COMMIT.includes(point);
    if (isCommitted) await expectMoved(migration);
    else await expectStayed(migration, LOST);
  });
});

describe('while pages are missing', () => {
  useTestbed(LONG_LEASE_MS);

  test.each(LATE_CASES)(
    '%s: at %s a cut of %i ms holds the migration, which goes on',
    async (...[technique, point, cutMs]) => {
      const [migration, name] = await heldGuestAt(point, { ...PATIENT, technique });
      await setFault(CUT);
      await release(testbed, point, name);
      await expectStandsStill(migration, cutMs);
      await setFault(NO_FAULT);
      await expectWentOn(migration);
    },
  );

  test.each(LATE_TECHNIQUES)('%s: a reset loses no page', async (technique) => {
    const [migration, name] = await heldGuestAt('postcopy-active', { ...PATIENT, technique });
    await setFault(RESET);
    await expectNoFault();
    await release(testbed, 'postcopy-active', name);
    await expectWentOn(migration);
  });
});

describe('with the deadlines of a fast machine', () => {
  // The longest that this patience allows.
  useTestbed(30_000, { GODWIT_PATIENCE: '1' });

  test('a cut of 5 s in the first round is waited out', async () => {
    const migration = await inRoundOne();
    await setFault(CUT);
    await shapeSource(unshapedNetwork());
    await expectStandsStill(migration, 5000);
    await setFault(NO_FAULT);
    await expectWentOn(migration);
  });

  test('a link that stays half open ends a migration, and the guest runs on at the source', async () => {
    const migration = await inRoundOne();
    await setFault(OUTWARDS_DOWN);
    // Each side owes the other something, and the way back is open: who is told first is a race.
    await expectStayed(migration, /has been silent for 30000 ms; it owes/);
  });

  test('a cut that lasts ends a migration and lets none begin, and the guests run on at the source', async () => {
    const migration = await inRoundOne();
    await setFault(CUT);
    await shapeSource(unshapedNetwork());
    const late = testbed.migrate(await createGuest(), DESTINATION);
    await expectStayed(late, /connect.*: nothing came within 20000 ms/);
    await expectStayed(migration, /the destination has been silent for 30000 ms; it owes/);
  });

  test('a cut that lasts while pages are missing costs these pages, and no host waits for ever', async () => {
    const migrations = await Promise.all(
      LATE_TECHNIQUES.map(async (technique) => {
        const push = PostcopyPush.POSTCOPY_PUSH_NONE;
        const guest = await createGuest(LEAVES_PAGES);
        const migration = testbed.migrate(guest, DESTINATION, { ...LATE, technique, push });
        await waitFor(
          () => migration.progress?.phase === MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE,
          `${technique} to run the guest at the destination`,
        );
        return migration;
      }),
    );
    await setFault(CUT);
    for (const migration of migrations) {
      const { guest, phase, reason, owner } = await migration.ended;
      expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
      expect(reason).toMatch(
        /^[1-9]\d* pages were lost with host-1: the source has been silent for 30000 ms/,
      );
      expect(owner).toBe(DESTINATION);
      await waitFor(
        async () => (await testbed.guest(guest)).state === GuestState.GUEST_STATE_FAILED,
        'the guest to be told as failed',
      );
      expect(await testbed.operations(SOURCE, guest), 'the pages at the source').toBe(undefined);
    }
  });

  test('a cut that loses COMMIT: the witness hands the guest over while the link is down', async () => {
    const [migration, name] = await heldGuestAt('before-commit');
    await setFault(CUT);
    await release(testbed, 'before-commit', name);
    await waitFor(
      async () => (await testbed.operations(DESTINATION, guests[0]!))! > 0,
      'the guest to run at the destination',
    );
    await setFault(NO_FAULT);
    await expectWentOn(migration);
  });
});
