/**
 * Goal: a vCPU that is slowed stands still as much as it is to and no more, loses that work, keeps nobody
 * waiting, and runs free when it is let go. Method: the vCPU's side with a clock of the test's own; and real vCPU
 * threads.
 */

import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { nowMs } from '../../../hosts/clock.ts';
import { ControlBlock } from '../../../hosts/guest/control-block.ts';
import { VCPU_STATE } from '../../../hosts/guest/control-layout.ts';
import type { Guest } from '../../../hosts/guest/guest.ts';
import { OWED_MS_MAX, THROTTLE_CREDIT_MS_MAX, THROTTLE_TIMESLICE_MS } from '../../../hosts/guest/limits.ts';
import { clearDirtyPages, PageTable } from '../../../hosts/guest/page-table.ts';
import {
  allocateGuest,
  COUNTER_OPERATIONS,
  COUNTER_THROTTLED_MS,
  COUNTER_WRITE_FAULTS,
  countersOf,
  readVcpuState,
} from '../../../hosts/guest/shared-guest.ts';
import { decodeVcpuState } from '../../../hosts/guest/vcpu-state.ts';
import { VcpuThrottle } from '../../../hosts/guest/vcpu-throttle.ts';
import { createSchedule } from '../../../workloads/registry.ts';
import { Guests, guestSpec, until, untilWritten } from './specs.ts';

describe("a vCPU's throttle", () => {
  const START_MS = 5000;

  function make() {
    const spec = guestSpec();
    const shared = allocateGuest(spec);
    const { throttle } = new ControlBlock(shared.control, 1);
    return { throttle, vcpu: new VcpuThrottle(shared, 0), counters: countersOf(shared, 0) };
  }

  test('has it stand still for the share of the time that was set, however late it wakes up', () => {
    const turn = fc.record({
      runMs: fc.double({ min: 0.01, max: 20, noNaN: true }),
      lateMs: fc.double({ min: 0, max: 5, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 90 }), fc.array(turn, { minLength: 100 }), (percent, turns) => {
        const { throttle, vcpu, counters } = make();
        throttle.setPercent(percent);
        let clockMs = START_MS;
        vcpu.dueMs(clockMs);
        let ranMs = 0;
        let longestMs = 0;
        for (const { runMs, lateMs } of turns) {
          ranMs += runMs;
          clockMs += runMs;
          const dueMs = vcpu.dueMs(clockMs);
          if (dueMs === 0) continue;
          longestMs = Math.max(longestMs, dueMs);
          vcpu.stoodStill(clockMs, clockMs + dueMs + lateMs);
          clockMs += dueMs + lateMs;
        }
        const factor = percent / (100 - percent);
        const expectedMs = ranMs * factor;
        const stoodMs = counters[COUNTER_THROTTLED_MS] as number;
        // It never owes more than a slice's part when it goes on, and is never ahead by more than one late wake-up.
        expect(stoodMs).toBeGreaterThanOrEqual(expectedMs - THROTTLE_TIMESLICE_MS);
        expect(stoodMs).toBeLessThanOrEqual(expectedMs + 5 + 1e-6);
        expect(longestMs).toBeLessThanOrEqual(Math.min(THROTTLE_TIMESLICE_MS + 20 * factor, OWED_MS_MAX));
      }),
    );
  });

  test('charges nothing for a pause, and no more than its bound for a stall', () => {
    const { throttle, vcpu } = make();
    throttle.setPercent(50);
    vcpu.dueMs(START_MS);
    vcpu.start(START_MS + 60_000);
    expect(vcpu.dueMs(START_MS + 60_001)).toBe(0);
    expect(vcpu.dueMs(START_MS + 120_000)).toBe(OWED_MS_MAX);
    vcpu.stoodStill(START_MS + 120_000, START_MS + 190_000);
    // What it was credited is bounded, too.
    const againMs = START_MS + 190_000 + THROTTLE_CREDIT_MS_MAX;
    expect(vcpu.dueMs(againMs)).toBe(0);
    expect(vcpu.dueMs(againMs + THROTTLE_TIMESLICE_MS)).toBeCloseTo(THROTTLE_TIMESLICE_MS);
  });

  test('has it pay what it owes to the end, though clients wake it up', () => {
    const { throttle, vcpu } = make();
    throttle.setPercent(50);
    vcpu.dueMs(START_MS);
    expect(vcpu.dueMs(START_MS + 8)).toBeCloseTo(8);
    vcpu.stoodStill(START_MS + 8, START_MS + 9);
    expect(vcpu.dueMs(START_MS + 9)).toBeCloseTo(7);
  });

  test('lets an idle vCPU sleep no longer than until it is to stand still', () => {
    const { throttle, vcpu } = make();
    expect(vcpu.idleMsMax()).toBe(Number.POSITIVE_INFINITY);
    throttle.setPercent(80);
    vcpu.dueMs(START_MS);
    expect(vcpu.idleMsMax()).toBeCloseTo(2);
    expect(vcpu.dueMs(START_MS + 2)).toBeCloseTo(8);
  });

  test('has it wait for the period in which what it dirtied is paid', () => {
    const { throttle, vcpu, counters } = make();
    throttle.setQuota({ pages: 40, periodMs: 50 });
    expect(vcpu.dueMs(START_MS)).toBe(0);
    expect(vcpu.pagesLeft()).toBe(40);
    counters[COUNTER_WRITE_FAULTS] = 39;
    expect(vcpu.dueMs(START_MS + 10)).toBe(0);
    expect(vcpu.pagesLeft()).toBe(1);
    // One operation takes three periods' worth.
    counters[COUNTER_WRITE_FAULTS] = 125;
    expect(vcpu.dueMs(START_MS + 20)).toBe(130);
    vcpu.stoodStill(START_MS + 20, START_MS + 150);
    expect(vcpu.dueMs(START_MS + 150)).toBe(0);
    expect(vcpu.pagesLeft()).toBe(35);
  });

  test('forgets what was owed when it is let go', () => {
    const { throttle, vcpu, counters } = make();
    throttle.setPercent(99);
    throttle.setQuota({ pages: 1, periodMs: 1000 });
    vcpu.dueMs(START_MS);
    counters[COUNTER_WRITE_FAULTS] = 1000;
    expect(vcpu.dueMs(START_MS + 1)).toBeGreaterThan(900_000);
    throttle.release();
    expect(vcpu.isOn()).toBe(false);
    expect([vcpu.idleMsMax(), vcpu.pagesLeft()]).toEqual(Array(2).fill(Number.POSITIVE_INFINITY));
    throttle.setQuota({ pages: 1, periodMs: 1000 });
    expect(vcpu.isOn()).toBe(true);
    expect(vcpu.dueMs(START_MS + 2)).toBe(0);
  });

  test.each([-1, 99.5, Number.NaN])('is not set to %s %%', (percent) => {
    expect(() => make().throttle.setPercent(percent)).toThrow('allowed is 0 to 99 %');
  });

  test.each([
    [0, 10],
    [1, 0],
    [1, 1001],
    [2 ** 21, 10],
    [1.5, 10],
  ])('is not set to %s pages in %s ms', (pages, periodMs) => {
    expect(() => make().throttle.setQuota({ pages, periodMs })).toThrow('allowed is 1 to 2097151 pages');
  });
});

const guests = new Guests();
afterEach(() => guests.destroyAll());

function counted(guest: Guest, counter: number): number[] {
  const vcpus = [...Array(guest.spec.vcpuCount).keys()];
  return vcpus.map((vcpu) => countersOf(guest.shared, vcpu)[counter] as number);
}

/** Each vCPU has gone on since now. */
async function allOperate(guest: Guest): Promise<void> {
  const before = counted(guest, COUNTER_OPERATIONS);
  await until(() => counted(guest, COUNTER_OPERATIONS).every((count, vcpu) => count > before[vcpu]!));
}

/** Its vCPUs stand still, and will for many minutes: for so many pages that they dirtied at once. */
async function stunned(vcpuCount: number): Promise<Guest> {
  const guest = await guests.create(guestSpec({}, { mebibytes: 16, vcpuCount }));
  const { control } = guest;
  const pageTable = new PageTable(guest.shared.pageTable, 4096);
  const standsStill = (): boolean =>
    [...Array(vcpuCount).keys()].every((vcpu) => control.vcpuState(vcpu) === VCPU_STATE.SLEEPING);
  // On a slow machine the first quota's period may end just now, and nothing is owed, or one vCPU has dirtied all
  // before another runs: once more.
  do {
    control.throttle.setQuota({ pages: 1000, periodMs: 1000 });
    await guest.pause();
    clearDirtyPages(pageTable, control);
    await guest.resume();
    const before = counted(guest, COUNTER_WRITE_FAULTS);
    const all = (faults: number, vcpu: number): boolean => faults > before[vcpu]! + 300;
    await until(() => counted(guest, COUNTER_WRITE_FAULTS).every(all) || pageTable.countDirty() === 4096);
    control.throttle.setQuota({ pages: 1, periodMs: 1000 });
    // Each has looked at its quota between two safepoints, and if it is to stand still, it does.
    for (let safepoint = 0; safepoint < 3; safepoint++) control.passEpoch();
  } while (!standsStill());
  return guest;
}

describe('a guest that is slowed', () => {
  test('loses the work of the time that it stands still, and does all that is due in the rest', async () => {
    const spec = guestSpec({ kind: 'hot-cold', rate: 4000 }, { vcpuCount: 2 });
    const bornMs = nowMs();
    const guest = await guests.create(spec);
    guest.control.throttle.setPercent(60);
    await untilWritten(guest, 500);
    await until(() => counted(guest, COUNTER_THROTTLED_MS).every((ms) => ms > 0));
    await guest.pause();
    const livedMs = nowMs() - bornMs;
    for (const [vcpu, throttledMs] of counted(guest, COUNTER_THROTTLED_MS).entries()) {
      const { guestTimeMs, unitsDone } = decodeVcpuState(readVcpuState(guest.shared, vcpu));
      expect(guestTimeMs).toBeLessThanOrEqual(livedMs - throttledMs);
      const { workload, seed, vcpuCount } = spec;
      const schedule = createSchedule({ spec: workload!, seed, pageCount: 256, vcpu, vcpuCount });
      expect(unitsDone).toBeLessThanOrEqual(schedule.dueBy(guestTimeMs));
    }
  });

  test('dirties no more pages than it may', async () => {
    const guest = await guests.create(guestSpec({}, { mebibytes: 16, vcpuCount: 2 }));
    const pageTable = new PageTable(guest.shared.pageTable, 4096);
    await guest.pause();
    clearDirtyPages(pageTable, guest.control);
    guest.control.throttle.setQuota({ pages: 3, periodMs: 20 });
    const before = counted(guest, COUNTER_WRITE_FAULTS);
    const startMs = nowMs();
    await guest.resume();
    await until(() => pageTable.countDirty() >= 50);
    const dirtied = counted(guest, COUNTER_WRITE_FAULTS).map((faults, vcpu) => faults - before[vcpu]!);
    const periods = Math.ceil((nowMs() - startMs) / 20) + 1;
    for (const pages of dirtied) expect(pages).toBeLessThanOrEqual(3 * periods);
    await guest.pause();
    const all = counted(guest, COUNTER_WRITE_FAULTS).map((faults, vcpu) => faults - before[vcpu]!);
    // Each page is one vCPU's.
    expect(all[0]! + all[1]!).toBe(pageTable.countDirty());
  });

  test('keeps neither an epoch, nor a pause, nor an audit, nor its end waiting', async () => {
    const guest = await stunned(2);
    guest.control.passEpoch();
    await guest.pause();
    await guest.resume();
    expect((await guest.audit()).faults).toEqual([]);
    expect(guest.running).toBe(true);
    await guest.destroy();
  });

  test('goes on as fast as it can when it is let go, and stands still no more', async () => {
    const guest = await stunned(2);
    guest.control.throttle.release();
    await allOperate(guest);
    const before = counted(guest, COUNTER_THROTTLED_MS);
    await untilWritten(guest, 100_000);
    await allOperate(guest);
    expect(counted(guest, COUNTER_THROTTLED_MS)).toEqual(before);
  });

  test('that is let go in a pause runs free after it', async () => {
    const guest = await stunned(2);
    await guest.pause();
    guest.control.throttle.release();
    const before = counted(guest, COUNTER_THROTTLED_MS);
    await guest.resume();
    await untilWritten(guest, 10_000);
    await allOperate(guest);
    expect(counted(guest, COUNTER_THROTTLED_MS)).toEqual(before);
  });
});
