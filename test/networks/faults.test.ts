/**
 * Which shapes and faults a host refuses, and what it says then. What the others lead to is in
 * fault-matrix.test.ts.
 */
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { type LinkFault, LinkFaultKind, type NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { NO_FAULT, UNSHAPED_LINK, unshapedNetwork } from '../../proto/network-shape.ts';
import { callUnary } from '../../proto/rpc.ts';
import { endAllProcesses } from '../support/processes.ts';
import { guestSpec, Testbed } from '../support/testbed.ts';

const GUEST = 'moving';
const CUT: LinkFault = { ...NO_FAULT, kind: LinkFaultKind.LINK_FAULT_KIND_CUT };

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start(['host-1', 'host-2']);
});

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

const call = { what: 'setting the network', deadlineMs: 120_000 };

async function shape(host: string, wanted: NetworkShape | undefined): Promise<void> {
  await callUnary(testbed.client, 'setNetwork', { host, shape: wanted, faults: true }, call);
}

async function setFault(host: string, wanted: LinkFault): Promise<void> {
  await callUnary(testbed.client, 'setLinkFault', { host, fault: wanted }, call);
}

test('a fault that would not reach a running migration is refused with what to do', async () => {
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
  const failpoints = [{ point: 'round-1', action: 3 as const, durationMs: 600_000 }];
  const migration = testbed.migrate(GUEST, 'host-2', { failpoints });
  await migration.stands('round-1');
  await expect(setFault('host-1', CUT)).rejects.toThrow(/go past its NIC.*give it a shape.*--nic/);
  await testbed.releaseFailpoint('host-1', await migration.name());
  const report = await migration.ended;
  expect(report.phase, report.reason).toBe(MigrationPhase.MIGRATION_PHASE_COMPLETED);
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
