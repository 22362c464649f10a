/**
 * Goal: a guest that is slowed when its destination is killed runs at its full rate where it is. Method: real
 * processes. Hosts do not tell whether a guest is slowed, but the next migration's report tells how long its
 * vCPUs stood still, and that one has no reason to slow it.
 */

import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { DEFAULT_CONVERGENCE } from '../../proto/convergence.ts';
import { MigrationPhase, Throttle } from '../../proto/generated/godwit/v1/migration.ts';
import { DESTINATION, expectRunsOnlyOn, HOSTS, heldAt, release, SOURCE } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, Testbed } from '../support/testbed.ts';

const GUEST = 'slowed';
/** How long a dead host is waited for. */
const LEASE_MS = 5000;
/** A round of some tenths of a second. */
const SLOW = { maxBandwidthBytesPerS: 10_000_000, downtimeLimitMs: 0, maxRounds: 1000 };
/** At the first round's end already. */
const STUNNED = {
  ...DEFAULT_CONVERGENCE,
  throttle: Throttle.THROTTLE_STUNNING,
  throttlePeriodMs: 10,
  throttleTriggerThreshold: 1,
  stunQuota: 1,
};

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start(HOSTS, LEASE_MS, { GODWIT_PATIENCE: '3' });
});

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

it('runs free where it is when its destination is killed in the middle of a round', async () => {
  const workload = { ...guestSpec(GUEST).workload!, kind: 'uniform', rate: 20_000 };
  await testbed.createGuest(guestSpec(GUEST, { workload }), SOURCE);
  const failing = await heldAt(testbed, GUEST, 'round-2', { ...SLOW, convergence: STUNNED });
  // It has stood still, and gone on, a few times.
  const slow = (await testbed.operations(SOURCE, GUEST))! + 10;
  await waitFor(async () => (await testbed.operations(SOURCE, GUEST))! > slow, 'the slowed guest to go on');
  await testbed.killHost(DESTINATION);
  await release(testbed, 'round-2', await failing.name());
  const failed = await failing.ended;
  expect(failed.phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
  expect(failed.sourceReport!.throttle!.vcpuThrottledMs[0]).toBeGreaterThan(0);
  expect(failed.sourceReport!.decisions.at(-1)).toMatchObject({ rule: 'stunning' });
  await expectRunsOnlyOn(testbed, GUEST, SOURCE);

  await testbed.hostIsDead(DESTINATION);
  await testbed.startHost(DESTINATION);
  // Its rule is told, and finds nothing to do: so much may be dirtied.
  const free = { ...STUNNED, throttlePeriodMs: 60_000 };
  const moving = await heldAt(testbed, GUEST, 'round-1', { convergence: free });
  const start = (await testbed.operations(SOURCE, GUEST))!;
  await waitFor(async () => (await testbed.operations(SOURCE, GUEST))! > start + 2000, 'the guest to work');
  await release(testbed, 'round-1', await moving.name());
  const moved = await moving.ended;
  expect(moved.phase).toBe(MigrationPhase.MIGRATION_PHASE_COMPLETED);
  expect(moved.sourceReport!.throttle!.vcpuThrottledMs).toEqual([0]);
  await expectRunsOnlyOn(testbed, GUEST, DESTINATION);
});
