/**
 * Goal: a link that is cut, stalls, is reset or half open in the middle of a migration leaves the guest
 * running exactly once, at the source or, when the link comes back in time, at the destination; and nothing
 * hangs. Method: real processes; the link is so slow that the first round lasts minutes, the fault comes in
 * it, and then the rate is let go, so that only the fault can hold the migration.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MigrationPhase, type MigrationReport } from '../../proto/generated/godwit/v1/migration.ts';
import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type NetworkShape,
} from '../../proto/generated/godwit/v1/network.ts';
import { NO_FAULT, UNSHAPED_LINK, unshapedNetwork } from '../../proto/network-shape.ts';
import { callUnary } from '../../proto/rpc.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, type RunningMigration, Testbed } from '../support/testbed.ts';

const GUEST = 'moving';
const HOSTS = ['host-1', 'host-2'] as const;
/** 4 MiB take minutes. */
const SLOW: NetworkShape = {
  ...unshapedNetwork(),
  egress: { ...UNSHAPED_LINK, rateBytesPerS: 20_000, queueBytes: 16_384 },
};
const CUT = fault(LinkFaultKind.LINK_FAULT_KIND_CUT);
const RESET = fault(LinkFaultKind.LINK_FAULT_KIND_RESET);
const FAULT_MS = 1000;

let testbed: Testbed;

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

function fault(kind: LinkFaultKind, changes: Partial<LinkFault> = {}): LinkFault {
  return { ...NO_FAULT, kind, ...changes };
}

const call = { what: 'setting the network', deadlineMs: 120_000 };

async function shape(host: string, wanted: NetworkShape | undefined): Promise<void> {
  await callUnary(testbed.client, 'setNetwork', { host, shape: wanted, faults: true }, call);
}

async function setFault(host: string, wanted: LinkFault): Promise<void> {
  await callUnary(testbed.client, 'setLinkFault', { host, fault: wanted }, call);
}

/** A migration whose first round is under way and will be for minutes. */
async function inRoundOne(): Promise<RunningMigration> {
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
  await shape('host-1', SLOW);
  const migration = testbed.migrate(GUEST, 'host-2', { totalTimeLimitMs: 3_600_000 });
  await waitFor(
    () => migration.progress?.round === 1 && migration.progress.roundPagesSent > 0n,
    () => `the first pages of round 1; the migration is at ${migration.progress?.round}`,
  );
  return migration;
}

/** Whether the migration ends within a time. */
async function endsWithin(migration: RunningMigration, withinMs: number): Promise<boolean> {
  return await Promise.race([migration.ended.then(() => true), sleep(withinMs, false)]);
}

async function expectMoved(report: MigrationReport): Promise<void> {
  expect(report.phase, report.reason).toBe(MigrationPhase.MIGRATION_PHASE_COMPLETED);
  expect(report.owner).toBe('host-2');
  expect(await testbed.audit(GUEST)).toMatchObject({ faultCount: 0n });
}

/** The guest works at the source, is whole, and the destination has nothing of it. */
async function expectStayed(report: MigrationReport): Promise<void> {
  expect(report.phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(report.owner).toBe('host-1');
  const before = await testbed.operations('host-1', GUEST);
  await waitFor(
    async () => (await testbed.operations('host-1', GUEST))! > before!,
    'the guest to go on at the source',
  );
  await waitFor(
    async () => (await testbed.operations('host-2', GUEST)) === undefined,
    'the destination to have nothing of the guest',
  );
  expect(await testbed.audit(GUEST)).toMatchObject({ faultCount: 0n });
}

describe('before the commit point', () => {
  beforeEach(async () => {
    testbed = await Testbed.start(HOSTS);
  });

  test('a cut of a second lets nothing pass, and the migration goes on after it', async () => {
    const migration = await inRoundOne();
    await setFault('host-1', CUT);
    await shape('host-1', unshapedNetwork());
    expect(await endsWithin(migration, FAULT_MS)).toBe(false);
    await setFault('host-1', NO_FAULT);
    await expectMoved(await migration.ended);
  });

  test('a stall of a second ends by itself, and the migration goes on', async () => {
    const migration = await inRoundOne();
    await setFault('host-1', fault(LinkFaultKind.LINK_FAULT_KIND_STALL, { durationMs: FAULT_MS }));
    await shape('host-1', unshapedNetwork());
    await expectMoved(await migration.ended);
  });

  test('a reset leaves the guest running at the source', async () => {
    const migration = await inRoundOne();
    await setFault('host-1', RESET);
    await expectStayed(await migration.ended);
  });

  test('a fault that would not reach a running migration is refused with what to do', async () => {
    await testbed.createGuest(guestSpec(GUEST), 'host-1');
    const failpoints = [{ point: 'round-1', action: 3 as const, durationMs: 600_000 }];
    const migration = testbed.migrate(GUEST, 'host-2', { failpoints });
    await migration.stands('round-1');
    await expect(setFault('host-1', CUT)).rejects.toThrow(/go past its NIC.*give it a shape.*--nic/);
    await testbed.releaseFailpoint('host-1', await migration.name());
    await expectMoved(await migration.ended);
    await setFault('host-1', CUT);
  });

  test('packets cannot be lost by a relay, a peer must be known, and a shape must be one', async () => {
    const losing = { ...unshapedNetwork(), egress: { ...UNSHAPED_LINK, loss: 0.01 } };
    await expect(shape('host-1', losing)).rejects.toThrow(/egress loss is 0.01: a relay .* cannot lose/);
    const elsewhere = { ...unshapedNetwork(), peers: [{ peer: 'host-9', ...unshapedNetwork() }] };
    await expect(shape('host-1', elsewhere)).rejects.toThrow(/no host "host-9"; there are host-1, host-2/);
    const backwards = { ...unshapedNetwork(), ingress: { ...UNSHAPED_LINK, delayMs: -1 } };
    await expect(shape('host-1', backwards)).rejects.toThrow(/ingress delay is -1/);
    await expect(shape('host-3', undefined)).rejects.toThrow(/no host "host-3"/);
  });
});

describe('with the deadlines of a fast machine', () => {
  beforeEach(async () => {
    testbed = await Testbed.start(HOSTS, 8000, { GODWIT_PATIENCE: '1' });
  });

  test('a half-open link ends the migration by its deadline, and the guest runs on at the source', async () => {
    const migration = await inRoundOne();
    const direction = LinkDirection.LINK_DIRECTION_EGRESS;
    await setFault('host-1', fault(LinkFaultKind.LINK_FAULT_KIND_HALF_OPEN, { direction }));
    const report = await migration.ended;
    await expectStayed(report);
    expect(report.reason).not.toBe('');
  });
});
