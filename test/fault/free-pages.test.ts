/**
 * Goal: whoever dies while free pages are left out, the guest that is left is whole. Method: real processes, a
 * kernel that takes and frees pages all the while, and the audit.
 */

import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { DEFAULT_CONVERGENCE } from '../../proto/convergence.ts';
import { FreePages } from '../../proto/generated/godwit/v1/migration.ts';
import { DESTINATION, expectRunsOnlyOn, heldAt, SOURCE } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, Testbed } from '../support/testbed.ts';

const GUEST = 'moving';
const LEASE_MS = 5000;
const LEAVING_OUT = { convergence: { ...DEFAULT_CONVERGENCE, freePages: FreePages.FREE_PAGES_HINTS } };

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start([SOURCE, DESTINATION], LEASE_MS, { GODWIT_PATIENCE: '3' });
  const { content, ...spec } = guestSpec(GUEST);
  await testbed.createGuest(
    { ...spec, content: { ...content!, free: 0.6, freeChurnPagesPerS: 2000 } },
    SOURCE,
  );
});
afterEach(() => testbed.close());
afterAll(endAllProcesses);

it('a guest that reports free pages is whole at the source when the destination dies', async () => {
  const migration = await heldAt(testbed, GUEST, 'round-1', LEAVING_OUT);
  await testbed.killHost(DESTINATION);
  await migration.ended.catch(() => {});
  await expectRunsOnlyOn(testbed, GUEST, SOURCE);
});

it('a guest without its free pages is proven by the digest when the source dies right after the commit', async () => {
  const migration = await heldAt(testbed, GUEST, 'after-commit', LEAVING_OUT);
  await testbed.killHost(SOURCE);
  await migration.ended.catch(() => {});
  await waitFor(async () => (await testbed.guest(GUEST)).owner === DESTINATION, 'the guest to be host-2’s');
  await expectRunsOnlyOn(testbed, GUEST, DESTINATION);
  expect((await testbed.audit(GUEST)).evidence).toBe('digest');
});
