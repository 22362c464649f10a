/**
 * What every test of faults asks in the end: one copy of the guest runs, where it should, and its memory is
 * right. And how such a test brings a migration to the point where the fault is to come.
 */

import { expect } from 'vitest';
import { FailpointAction, type MigrationOptions } from '../../proto/generated/godwit/v1/migration.ts';
import { DESTINATION_FAILPOINTS, type FailpointName } from '../../proto/names.ts';
import { waitFor } from './processes.ts';
import type { RunningMigration, Testbed } from './testbed.ts';

export const SOURCE = 'host-1';
export const DESTINATION = 'host-2';
export const HOSTS = [SOURCE, DESTINATION] as const;

const HOLD_MS = 600_000;

/**
 * A migration from host-1 to host-2 that stands at a failpoint until it is released.
 *
 * @param later points at which it is held as well, if it comes to them
 */
export async function heldAt(
  testbed: Testbed,
  guest: string,
  point: FailpointName,
  options: Partial<MigrationOptions>,
  later: readonly FailpointName[] = [],
): Promise<RunningMigration> {
  const action = FailpointAction.FAILPOINT_ACTION_HOLD;
  const failpoints = [point, ...later].map((each) => ({ point: each, action, durationMs: HOLD_MS }));
  const migration = testbed.migrate(guest, DESTINATION, { ...options, failpoints });
  if (DESTINATION_FAILPOINTS.includes(point)) {
    await testbed.destinationStands(DESTINATION, guest, await migration.name());
  } else await migration.stands(point);
  return migration;
}

/** Lets the migration go on. Its host may be dead, or have ended it by itself already. */
export async function release(testbed: Testbed, point: FailpointName, migration: string): Promise<void> {
  await testbed.releaseFailpoint(DESTINATION_FAILPOINTS.includes(point) ? DESTINATION : SOURCE, migration);
}

/** One copy makes progress, no other host has one that does, and its memory is what it must be. */
export async function expectRunsOnlyOn(testbed: Testbed, guest: string, owner: string): Promise<void> {
  const before = new Map<string, number>();
  for (const host of HOSTS) before.set(host, (await testbed.operations(host, guest)) ?? -1);
  await waitFor(async () => {
    const now = await testbed.operations(owner, guest);
    return now !== undefined && now > before.get(owner)! + 100;
  }, `the guest to make progress on ${owner}`);
  for (const host of HOSTS) {
    if (host === owner) continue;
    const now = (await testbed.operations(host, guest)) ?? -1;
    expect(now, `the other copy, on ${host}, must not run`).toBeLessThanOrEqual(before.get(host)!);
  }
  expect(await testbed.audit(guest)).toMatchObject({ faultCount: 0n, faults: [] });
}
