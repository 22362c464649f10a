/**
 * Goal: a vCPU that touches a page which is not here sleeps until it is, misses no wake-up, and can be paused,
 * resumed and ended while it sleeps. Method: real vCPU threads over a guest whose pages are taken away, and this
 * thread as the mover.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { HOLD, VCPU_STATE } from '../../../hosts/guest/control-layout.ts';
import { readFaultStatistics } from '../../../hosts/guest/fault-statistics.ts';
import type { Guest } from '../../../hosts/guest/guest.ts';
import { MissingPages } from '../../../hosts/guest/missing-pages.ts';
import { Guests, guestSpec, until, untilWritten } from './specs.ts';

const PAGES = 256;
const guests = new Guests();
afterEach(() => guests.destroyAll());

/** A guest of 1 MiB at full speed, none of whose pages is present. Its bytes stay where they are. */
async function withoutPages(vcpuCount: number, workload = {}): Promise<[Guest, MissingPages]> {
  const guest = await guests.create(guestSpec(workload, { vcpuCount }));
  await untilOperated(guest, 1000);
  await guest.pause();
  const missing = new MissingPages(guest.shared);
  missing.addAll();
  await guest.resume();
  return [guest, missing];
}

async function untilOperated(guest: Guest, operations: number): Promise<void> {
  const goal = guest.series.counts().operations + operations;
  await until(() => guest.series.counts().operations >= goal);
}

function sleepers({ control, spec }: Guest): number {
  const states = Array.from({ length: spec.vcpuCount }, (_, vcpu) => control.vcpuState(vcpu));
  return states.filter((state) => state === VCPU_STATE.FAULTED).length;
}

/** Brings each page that is waited for until all are here. */
async function bringDemanded(missing: MissingPages): Promise<number[]> {
  const brought: number[] = [];
  while (missing.count > 0) {
    const { bell } = missing;
    const pages = [...missing.awaited()];
    for (const page of pages) missing.arrived(page, 1);
    brought.push(...pages);
    if (pages.length === 0 && missing.count > 0) await missing.rung(bell);
  }
  return brought;
}

describe('a vCPU that touches a missing page', () => {
  test.each([1, 4])(
    'waits for it, and for no other: %i vCPUs, every page is asked for once',
    async (vcpus) => {
      const [guest, missing] = await withoutPages(vcpus);
      const brought = await bringDemanded(missing);
      expect(brought.toSorted((left, right) => left - right)).toEqual(
        Array.from({ length: PAGES }, (_, i) => i),
      );
      await untilWritten(guest, 1000);
      expect((await guest.audit()).faults).toEqual([]);
    },
  );

  test('waits for it when it reads, too', async () => {
    const [guest, missing] = await withoutPages(2, { kind: 'kv', read: 1, scan: 0 });
    await until(() => sleepers(guest) === 2);
    missing.arrived(0, PAGES);
    await untilOperated(guest, 1);
    expect(readFaultStatistics(guest.shared.faults).faults).toBe(2);
    expect(guest.series.counts().pageWrites).toBe(0);
  });

  test('counts how long it waited, and how long all did at once', async () => {
    const [guest, missing] = await withoutPages(2, { kind: 'sequential' });
    await until(() => sleepers(guest) === 2);
    missing.arrived(0, PAGES);
    await guest.control.waitFaultsOver();
    const statistics = readFaultStatistics(guest.shared.faults);
    expect(statistics.faults).toBe(2);
    expect(statistics.latency.reduce((sum, { faults }) => sum + faults, 0)).toBe(2);
    expect(statistics.latency.at(-1)!.upToMs).toBeGreaterThanOrEqual(statistics.latencyMaxMs);
    expect(statistics.blocktimeMs).toBeGreaterThan(0);
    for (const waitedMs of statistics.vcpuBlocktimeMs) {
      expect(waitedMs).toBeGreaterThanOrEqual(statistics.blocktimeMs);
      expect(waitedMs).toBeLessThanOrEqual(statistics.latencyMaxMs);
    }
  });
});

describe('eight vCPUs that all wait for pages', () => {
  async function asleep(): Promise<[Guest, MissingPages]> {
    const [guest, missing] = await withoutPages(8);
    await until(() => sleepers(guest) === 8);
    return [guest, missing];
  }

  test('count as parked, and stand still until the pause is over though their pages have come', async () => {
    const [guest, missing] = await asleep();
    await guest.pause();
    const { pageWrites } = guest.series.counts();
    missing.arrived(0, PAGES);
    // Whoever audits the guest in this state finds it whole, though each vCPU is in the middle of an operation.
    expect((await guest.audit()).faults).toEqual([]);
    // One that wakes up looks whether it may go on, and for that moment does not count.
    await until(() => sleepers(guest) === 8);
    expect(guest.series.counts().pageWrites).toBe(pageWrites);
    await guest.resume();
    await untilWritten(guest, 1000);
    await guest.control.waitFaultsOver();
    expect(sleepers(guest)).toBe(0);
  });

  test('pass epochs, and can be held and let go again and again', async () => {
    const [guest, missing] = await asleep();
    for (let round = 0; round < 20; round++) {
      guest.control.requestPause(HOLD.LEASE);
      guest.control.waitParked();
      guest.control.passEpoch();
      guest.control.resume(HOLD.LEASE);
      guest.control.passEpoch();
      for (const page of [...missing.awaited()].slice(0, 4)) missing.arrived(page, 1);
    }
    await bringDemanded(missing);
    await untilWritten(guest, 1000);
    expect((await guest.audit()).faults).toEqual([]);
  });

  test('can be ended', async () => {
    const [guest] = await asleep();
    await guest.destroy();
    const states = Array.from({ length: 8 }, (_, vcpu) => guest.control.vcpuState(vcpu));
    expect(states).toEqual(states.map(() => VCPU_STATE.STOPPED));
  });

  test('can be ended while they are paused as well', async () => {
    const [guest, missing] = await asleep();
    await guest.pause();
    missing.arrived(0, PAGES);
    await guest.destroy();
    const states = Array.from({ length: 8 }, (_, vcpu) => guest.control.vcpuState(vcpu));
    expect(states).toEqual(states.map(() => VCPU_STATE.STOPPED));
  });
});
