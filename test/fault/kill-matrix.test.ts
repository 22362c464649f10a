/**
 * Goal: whoever is killed at whatever point of the protocol, the guest runs exactly once afterwards with a clean
 * audit, or is reported lost where its memory truly was in the dead host alone. Method: real processes; the migration
 * is held at the point, the victim gets SIGKILL, the hold is released, and the testbed is left to itself.
 */

import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GuestEntry } from '../../proto/generated/godwit/v1/coordinator.ts';
import { GuestState } from '../../proto/generated/godwit/v1/guest.ts';
import { FAILPOINTS, type FailpointName } from '../../proto/names.ts';
import { expectRunsOnlyOn, HOSTS, heldAt, release } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, Testbed } from '../support/testbed.ts';

const GUEST = 'moving';
/** One dirty page after a round of most of a second is enough for a round 2. */
const SLOW = { maxBandwidthBytesPerS: 5_000_000, downtimeLimitMs: 0, maxRounds: 3 };
/** How long a dead host is waited for, in most of these cases. */
const LEASE_MS = 5000;

/** Until READY the source alone has the guest whole. */
const SOURCE_ONLY: readonly FailpointName[] = ['setup', 'round-1', 'round-2', 'final-pages'];

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start(HOSTS, LEASE_MS, { GODWIT_PATIENCE: '3' });
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
});

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

/**
 * Waits until the witness has the guest settled on a host, running, or lost. Where it must not be lost, a lease that a
 * slow machine missed is waited over.
 */
async function settledOwner(mayBeLost: boolean): Promise<string> {
  let entry: GuestEntry;
  await waitFor(
    async () => {
      entry = await testbed.guest(GUEST);
      if (entry.lost !== '') return mayBeLost;
      return entry.migration === '' && entry.state === GuestState.GUEST_STATE_RUNNING;
    },
    () =>
      `the guest to run or to be reported lost; it is ${JSON.stringify({ ...entry, spec: {}, epoch: '' })}`,
  );
  return entry!.owner;
}

describe.each(FAILPOINTS)('killed at %s', (point) => {
  it('the source: the guest is lost and reported, or runs at the destination', async () => {
    const migration = await heldAt(testbed, GUEST, point, SLOW);
    const { migration: name } = migration.progress!;
    await testbed.killHost('host-1');
    await release(testbed, point, name);
    const isLost = SOURCE_ONLY.includes(point);
    const owner = await settledOwner(isLost);
    if (isLost) {
      expect((await testbed.guest(GUEST)).lost).toMatch(/host-1/);
      return;
    }
    expect(owner).toBe('host-2');
    await expectRunsOnlyOn(testbed, GUEST, 'host-2');
  });

  it('the destination: the guest runs on at the source, or is lost with its new host', async () => {
    const migration = await heldAt(testbed, GUEST, point, SLOW);
    const { migration: name } = migration.progress!;
    await testbed.killHost('host-2');
    await release(testbed, point, name);
    const owner = await settledOwner(point === 'after-commit');
    if (point === 'after-commit' && owner === '') {
      // COMMIT was on its way: the destination had resumed and settled before it died.
      expect((await testbed.guest(GUEST)).lost).toMatch(/host-2/);
      return;
    }
    expect(owner).toBe('host-1');
    await expectRunsOnlyOn(testbed, GUEST, 'host-1');
  });

  it('the coordinator: the guest runs once, and the restarted coordinator knows where', async () => {
    const migration = await heldAt(testbed, GUEST, point, SLOW);
    const { migration: name } = migration.progress!;
    await testbed.killCoordinator();
    await testbed.startCoordinator();
    await release(testbed, point, name);
    const owner = await settledOwner(false);
    expect(HOSTS).toContain(owner);
    await expectRunsOnlyOn(testbed, GUEST, owner);
  });

  it('the coordinator, back only after the migration has gone on: the guest runs once', async () => {
    const migration = await heldAt(testbed, GUEST, point, SLOW);
    const { migration: name } = migration.progress!;
    await testbed.killCoordinator();
    await release(testbed, point, name);
    await testbed.startCoordinator();
    const owner = await settledOwner(false);
    expect(HOSTS).toContain(owner);
    await expectRunsOnlyOn(testbed, GUEST, owner);
  });
});

describe('a source that was stalled beyond its lease', () => {
  it('takes the guest back when its destination died: "nobody has it" is no answer to who has it', async () => {
    const migration = await heldAt(testbed, GUEST, 'before-resume', SLOW);
    const { migration: name } = migration.progress!;
    testbed.signalHost('host-1', 'SIGSTOP');
    await testbed.killHost('host-2');
    await testbed.hostIsDead('host-1');
    await testbed.hostIsDead('host-2');
    testbed.signalHost('host-1', 'SIGCONT');
    await release(testbed, 'before-resume', name);
    expect(await settledOwner(false)).toBe('host-1');
    await expectRunsOnlyOn(testbed, GUEST, 'host-1');
  });

  it('discards the guest when its destination got it meanwhile', async () => {
    const migration = await heldAt(testbed, GUEST, 'before-commit', SLOW);
    const { migration: name } = migration.progress!;
    testbed.signalHost('host-1', 'SIGSTOP');
    await testbed.hostIsDead('host-1');
    await waitFor(
      async () => (await testbed.operations('host-2', GUEST)) !== 0,
      'the guest to run at host-2',
    );
    testbed.signalHost('host-1', 'SIGCONT');
    await release(testbed, 'before-commit', name);
    expect(await settledOwner(false)).toBe('host-2');
    await expectRunsOnlyOn(testbed, GUEST, 'host-2');
  });
});
