/**
 * Faults under load. Four vCPUs at full speed lose their pages over and over, and get them back in random
 * order, while the guest is paused, held and let go. A wake-up that is lost would leave a vCPU asleep for ever;
 * a vCPU that went on without its page, or while it was held, would show in the audit: what it wrote is
 * overwritten when the page comes.
 */

import { setImmediate } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { HOLD } from '../../hosts/guest/control-layout.ts';
import type { Guest } from '../../hosts/guest/guest.ts';
import { MissingPages } from '../../hosts/guest/missing-pages.ts';
import { pageCountOf } from '../../hosts/guest/shared-guest.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { Random } from '../../workloads/random.ts';
import { Guests, guestSpec } from '../unit/guest/specs.ts';

const ROUNDS = 60;
const VCPUS = 4;
const guests = new Guests();
afterEach(() => guests.destroyAll());

/** All pages are gone: garbage is in their places. Answers what they held. */
async function takeAway(guest: Guest, missing: MissingPages): Promise<Uint8Array> {
  await guest.pause();
  const memory = new Uint8Array(guest.shared.memory);
  const held = memory.slice();
  missing.addAll();
  memory.fill(0xee);
  await guest.resume();
  return held;
}

test(`no wake-up and no write is lost in ${ROUNDS} rounds of faults, pauses and holds`, async () => {
  const guest = await guests.create(guestSpec({ rate: 0 }, { mebibytes: 1, vcpuCount: VCPUS }));
  const { control } = guest;
  const missing = new MissingPages(guest.shared);
  const memory = new Uint8Array(guest.shared.memory);
  const random = new Random(7n, 0);
  const bring = (held: Uint8Array, page: number): void => {
    if (!missing.has(page)) return;
    const start = page * PAGE_BYTES;
    memory.set(held.subarray(start, start + PAGE_BYTES), start);
    missing.arrived(page, 1);
  };
  for (let round = 0; round < ROUNDS; round++) {
    const held = await takeAway(guest, missing);
    while (missing.count > 0) {
      for (const page of missing.awaited()) bring(held, page);
      bring(held, random.below(pageCountOf(guest.spec)));
      if (random.below(8) > 0) continue;
      control.requestPause(HOLD.LEASE);
      control.waitParked();
      control.resume(HOLD.LEASE);
      await setImmediate();
    }
    await control.waitFaultsOver();
  }
  expect((await guest.audit()).faults).toEqual([]);
});
