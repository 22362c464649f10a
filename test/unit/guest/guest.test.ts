/**
 * A guest's life as its owner sees it: it runs, stands still, fails and ends, and nobody waits for it in
 * vain.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { nowMs } from '../../../hosts/clock.ts';
import { HOLD } from '../../../hosts/guest/control-layout.ts';
import { Guest } from '../../../hosts/guest/guest.ts';
import { currentLedger } from '../../../hosts/guest/ledger.ts';
import { BACKLOG_MS_MAX } from '../../../hosts/guest/limits.ts';
import { readVcpuState, writeVcpuState } from '../../../hosts/guest/shared-guest.ts';
import { decodeVcpuState } from '../../../hosts/guest/vcpu-state.ts';
import { createSchedule } from '../../../workloads/registry.ts';
import { Guests, guestSpec, until, untilWritten } from './specs.ts';

const guests = new Guests();
afterEach(() => guests.destroyAll());

describe('a guest', () => {
  test('keeps to its schedule on every vCPU, through pauses', async () => {
    const spec = guestSpec({ kind: 'hot-cold', rate: 4000 }, { vcpuCount: 4 });
    const guest = await guests.create(spec);
    for (let round = 0; round < 3; round++) {
      await untilWritten(guest, 400);
      await guest.pause();
      for (let vcpu = 0; vcpu < 4; vcpu++) {
        const { guestTimeMs, unitsDone } = decodeVcpuState(readVcpuState(guest.shared, vcpu));
        const { workload, seed, vcpuCount } = spec;
        const schedule = createSchedule({ spec: workload!, seed, pageCount: 256, vcpu, vcpuCount });
        expect(unitsDone).toBeLessThanOrEqual(schedule.dueBy(guestTimeMs));
        const oldestMs = Math.max(0, guestTimeMs - BACKLOG_MS_MAX - 1e-6);
        expect(unitsDone).toBeGreaterThanOrEqual(schedule.dueBy(oldestMs));
      }
      await guest.resume();
    }
  });

  test('writes nothing while it is paused, and knows when it stopped and started', async () => {
    const guest = await guests.create(guestSpec({}, { vcpuCount: 2 }));
    await untilWritten(guest, 1000);
    const askedAtMs = nowMs();
    await guest.pause();
    const parkedAtMs = guest.control.parkedAtMs();
    expect(parkedAtMs).toBeGreaterThanOrEqual(askedAtMs);
    expect(parkedAtMs).toBeLessThanOrEqual(nowMs());
    const memory = Buffer.from(new Uint8Array(guest.shared.memory));
    const ledger = currentLedger(guest.shared);
    expect((await guest.audit()).faults).toEqual([]);
    expect(Buffer.from(guest.shared.memory).equals(memory)).toBe(true);
    expect(currentLedger(guest.shared)).toEqual(ledger);
    const resumedAtMs = nowMs();
    await guest.resume();
    expect(guest.control.waitFirstRun()).toBeGreaterThanOrEqual(resumedAtMs);
    await untilWritten(guest, 1000);
  });

  test('stands still as long as one of pause and audit holds it', async () => {
    const guest = await guests.create(guestSpec());
    guest.control.requestPause(HOLD.AUDIT);
    await guest.pause();
    const before = guest.series.counts();
    guest.control.resume(HOLD.AUDIT);
    expect(guest.running).toBe(false);
    expect(guest.series.counts()).toEqual(before);
    await guest.resume();
    await untilWritten(guest, 1000);
  });

  test('that sleeps for long parks at once', async () => {
    const guest = await guests.create(guestSpec({ kind: 'idle' }, { vcpuCount: 8 }));
    for (let round = 0; round < 50; round++) {
      await guest.pause();
      await guest.resume();
    }
    expect(guest.running).toBe(true);
  });

  test('never takes a vCPU for parked that goes on, when it is paused while it wakes up', async () => {
    const guest = await guests.create(guestSpec({}, { vcpuCount: 4 }));
    for (let round = 0; round < 500; round++) {
      guest.control.requestPause();
      guest.control.waitParked();
      const before = guest.series.counts().pageWrites;
      guest.control.resume();
      guest.control.requestPause();
      guest.control.waitParked();
      const parked = guest.series.counts().pageWrites;
      expect(parked).toBeGreaterThanOrEqual(before);
      guest.control.waitParked();
      expect(guest.series.counts().pageWrites).toBe(parked);
      guest.control.resume();
    }
    expect((await guest.audit()).faults).toEqual([]);
  });

  test('has a series of what it did, with rising times and counts', async () => {
    const guest = await guests.create(guestSpec());
    const sinceMs = nowMs();
    await untilWritten(guest, 1000);
    await guest.destroy();
    const { atMs, operations, pageWrites } = guest.series.since(sinceMs);
    expect(atMs.length).toBeGreaterThan(0);
    for (const values of [atMs, operations, pageWrites]) {
      expect(values).toHaveLength(atMs.length);
      expect(values).toEqual([...values].sort((a, b) => a - b));
    }
    expect(pageWrites.at(-1)).toBeGreaterThanOrEqual(1000);
    expect(guest.series.since(nowMs() + 1).atMs).toEqual([]);
  });

  test('says since when it runs, and a pause is not in that time', async () => {
    const guest = await guests.create(guestSpec());
    await until(() => guest.series.runningSinceMs !== undefined);
    await guest.pause();
    await until(() => guest.series.runningSinceMs === undefined);
    const resumedAtMs = nowMs();
    await guest.resume();
    await until(() => guest.series.runningSinceMs !== undefined);
    expect(guest.series.runningSinceMs).toBeGreaterThanOrEqual(resumedAtMs);
  });
});

describe('a guest that cannot go on', () => {
  test('is paused and reports the vCPU by name, and nobody waits for it in vain', async () => {
    const guest = await guests.incoming(guestSpec({}, { vcpuCount: 2 }));
    const failed = new Promise<Error>((resolve) => {
      guest.onFailure(resolve);
    });
    writeVcpuState(guest.shared, 1, Buffer.from([0x80]));
    await guest.resume();
    expect((await failed).message).toMatch(/vCPU 1 of guest subject has ended: .*state was damaged/);
    expect(guest.running).toBe(false);
    await expect(guest.pause()).rejects.toThrow('vCPU 1 of guest subject');
    await expect(guest.resume()).rejects.toThrow('destroy the guest');
    await expect(guest.audit()).rejects.toThrow('vCPU 1 of guest subject');
    expect(() => guest.control.waitParked()).toThrow('vCPU 1 has failed');
  });

  test('is not made when its workload does not exist', async () => {
    await expect(Guest.create(guestSpec({ kind: 'flying' }))).rejects.toThrow('"flying"');
  });

  test('is not made when its memory cannot be had', async () => {
    const spec = { ...guestSpec(), memoryBytes: 1n << 60n };
    await expect(Guest.create(spec)).rejects.toThrow(
      /guest subject: this host cannot reserve .* for its memory/,
    );
  });
});

describe('a destroyed guest', () => {
  test('has no threads, lets go of its memory and refuses everything but being destroyed again', async () => {
    const guest = await guests.create(guestSpec({}, { vcpuCount: 2 }));
    const auditing = guest.audit().then(
      () => 'done',
      () => 'ended',
    );
    await Promise.all([guest.destroy(), guest.destroy()]);
    expect(await auditing).toMatch(/done|ended/);
    await expect(guest.resume()).rejects.toThrow('it was destroyed');
    await expect(guest.audit()).rejects.toThrow('it was destroyed');
    expect(() => guest.shared).toThrow('it was destroyed');
    expect(guest.failure).toBeUndefined();
    expect(guest.control.vcpuState(0)).toBe(4);
  });
});
