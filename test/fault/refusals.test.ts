/**
 * Goal: what cannot be done is refused with a sentence that names the value and the remedy, nothing is begun, and the
 * guest runs on. Method: real processes, asked for each impossible thing through the coordinator.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailpointAction, type MigrationOptions } from '../../proto/generated/godwit/v1/migration.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, Testbed } from '../support/testbed.ts';

const GUEST = 'staying';
/** More than fits beside it on a host of the testbed (256 MiB). */
const LARGE = 250n * 1024n * 1024n;

let testbed: Testbed;

beforeAll(async () => {
  testbed = await Testbed.start(['host-1', 'host-2', 'host-3'], LONG_LEASE_MS);
  await testbed.createGuest(guestSpec(GUEST, { memoryBytes: 16n * 1024n * 1024n }), 'host-1');
  await testbed.createGuest(guestSpec('filler', { memoryBytes: LARGE }), 'host-3');
});

afterAll(async () => {
  await testbed.close();
  await endAllProcesses();
});

async function expectRefused(asked: Promise<unknown>, code: string, says: RegExp): Promise<void> {
  const error = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code });
  expect(String(error)).toMatch(says);
}

async function expectRunsOn(): Promise<void> {
  const before = (await testbed.operations('host-1', GUEST))!;
  await waitFor(
    async () => (await testbed.operations('host-1', GUEST))! > before,
    `${GUEST} to go on at host-1`,
  );
  expect(await testbed.guest(GUEST)).toMatchObject({ owner: 'host-1', migration: '', lost: '' });
  expect(await testbed.audit(GUEST)).toMatchObject({ faultCount: 0n });
}

type Refusal = [
  what: string,
  guest: string,
  to: string,
  code: string,
  says: RegExp,
  options?: Partial<MigrationOptions>,
];

describe('a migration is refused', () => {
  it.each<Refusal>([
    ['of an unknown guest', 'nobody', 'host-2', 'NOT_FOUND', /nobody.*staying/s],
    ['to an unknown host', GUEST, 'host-9', 'NOT_FOUND', /host-9.*host-2/s],
    ['to the host where the guest is', GUEST, 'host-1', 'INVALID_ARGUMENT', /host-1/],
    ['to a host without room', GUEST, 'host-3', 'RESOURCE_EXHAUSTED', /host-3/],
    ['over 17 channels', GUEST, 'host-2', 'INVALID_ARGUMENT', /channels is 17.*1 to 16/, { channels: 17 }],
    [
      'by an unknown technique',
      GUEST,
      'host-2',
      'INVALID_ARGUMENT',
      /teleport.*pre-copy/,
      { technique: 'teleport' },
    ],
  ])('%s', async (_what, guest, to, code, message, options) => {
    const refused = testbed.migrate(guest, to, options).ended;
    await expectRefused(refused, code, message);
    await expectRunsOn();
  });

  it('while another one moves the guest, which is not disturbed', async () => {
    const point = 'round-1';
    const failpoints = [{ point, action: FailpointAction.FAILPOINT_ACTION_HOLD, durationMs: 600_000 }];
    const first = testbed.migrate(GUEST, 'host-2', { failpoints });
    await first.stands(point);
    const second = testbed.migrate(GUEST, 'host-2').ended;
    const name = await first.name();
    await expectRefused(second, 'FAILED_PRECONDITION', new RegExp(name));
    await testbed.releaseFailpoint('host-1', name);
    expect(await first.ended).toMatchObject({ owner: 'host-2', reason: '' });
    expect(await testbed.audit(GUEST)).toMatchObject({ faultCount: 0n, evidence: 'ledger' });
    // Back, for whoever comes after this test.
    expect(await testbed.migrate(GUEST, 'host-1').ended).toMatchObject({ owner: 'host-1' });
  });
});

describe('a guest is refused', () => {
  it.each<[what: string, changes: Parameters<typeof guestSpec>[1], code: string, says: RegExp]>([
    ['whose name is taken', {}, 'ALREADY_EXISTS', /staying/],
    [
      'for which there is no room',
      { name: 'large', memoryBytes: LARGE },
      'RESOURCE_EXHAUSTED',
      /large|room|memory/,
    ],
    ['with half a page', { name: 'half', memoryBytes: 4_194_305n }, 'INVALID_ARGUMENT', /4194305.*4096/],
    ['with 9 vCPUs', { name: 'nine', vcpuCount: 9 }, 'INVALID_ARGUMENT', /9.*1 to 8/],
  ])('%s', async (_what, changes, code, message) => {
    const created = testbed.createGuest(guestSpec(GUEST, changes), 'host-1');
    await expectRefused(created, code, message);
    await expectRunsOn();
  });
});
