/**
 * Goal: what a probe of the dirty rate finds is what was written. Method: writes of a known number to known pages while
 * it sleeps, so that every count is known; and vCPUs that write as fast as they can, of which each probe may be off by
 * the writes at its edges and by nothing else.
 */

import { afterEach, describe, expect, test } from 'vitest';
import type { ProbeSettings } from '../../../hosts/guest/dirty-rate/findings.ts';
import { measureDirtyRate } from '../../../hosts/guest/dirty-rate/measure.ts';
import { wilson } from '../../../hosts/guest/dirty-rate/page-sampling.ts';
import { runProbe } from '../../../hosts/guest/dirty-rate/probe.ts';
import { curve } from '../../../hosts/guest/dirty-rate/working-set.ts';
import { allocateGuest } from '../../../hosts/guest/shared-guest.ts';
import { VcpuMemory } from '../../../hosts/guest/vcpu-memory.ts';
import { QUEUE, Virtqueue } from '../../../hosts/guest/virtqueue.ts';
import { DIRTY_RATE_MODES, type DirtyRateModeName, dirtyRateProblems } from '../../../proto/dirty-rate.ts';
import { FLOW_BYTES } from '../../../proto/guest-network.ts';
import { Guests, guestSpec, untilWritten } from './specs.ts';

const guests = new Guests();
afterEach(() => guests.destroyAll());

/** No clock reaches the end of a window by itself: each sleep is asked for. */
const HOUR_MS = 3_600_000;
const NEVER = new AbortController().signal;

function settings(mode: DirtyRateModeName, calcTimeMs = HOUR_MS): ProbeSettings {
  return { mode, calcTimeMs, samplePages: 16_384 };
}

/** A guest that nobody runs, and its vCPUs' memory. */
function still(vcpuCount = 2) {
  const shared = allocateGuest(guestSpec({}, { vcpuCount }));
  const vcpus = Array.from({ length: vcpuCount }, (_, vcpu) => new VcpuMemory(shared, vcpu));
  const write = (vcpu: number, ...pages: number[]): void => {
    for (const page of pages) vcpus[vcpu]!.write(page);
  };
  return { shared, write, read: (page: number) => vcpus[0]!.read(page) };
}

describe('a probe of the dirty rate', () => {
  test.each(['dirty-bitmap', 'dirty-ring', 'working-set'] as const)(
    'in mode %s counts each page that is written once, however often and by whom',
    (mode) => {
      const { shared, write } = still();
      write(0, 1, 2, 3, 4);
      let sleeps = 0;
      const { dirtyPages, truth, pageCount } = runProbe(shared, settings(mode, 1000), () => {
        if (sleeps++ > 0) return;
        write(0, 3, 3, 5);
        write(1, 5, 6, 255);
      });
      expect(pageCount).toBe(256n);
      expect(dirtyPages).toBe(4);
      expect(truth).toMatchObject({ dirtyPages: 4n, pageWrites: 6n, edgeWrites: 0n, errorPercent: 0 });
    },
  );

  test('in mode dirty-ring tells the vCPUs apart, and counts a page again after a second', () => {
    const { shared, write } = still();
    let sleeps = 0;
    const { dirtyPages, truth, vcpus } = runProbe(shared, settings('dirty-ring', 2500), () => {
      sleeps++;
      write(0, 1, 2);
      write(1, 2, 3, 4);
    });
    expect(sleeps).toBe(3);
    expect(dirtyPages).toBe(3 * 4);
    expect(truth).toMatchObject({ dirtyPages: 12n, pageWrites: 15n, edgeWrites: 0n });
    expect(vcpus).toMatchObject([
      { vcpu: 0, dirtyPages: 6n, trueDirtyPages: 6n },
      { vcpu: 1, dirtyPages: 6n, trueDirtyPages: 9n },
    ]);
  });

  test('in mode working-set finds how the number of pages grows with time, and which are only read', () => {
    const { shared, write, read } = still();
    let window = 0;
    const { workingSet, cost } = runProbe(shared, settings('working-set'), () => {
      // One page in each window, one in all, two that take turns.
      write(0, 10 + window, 100, 200 + (window & 1));
      read(50);
      window++;
    });
    const pages = [1 + 1 + 1, 2 + 1 + 2, 4 + 1 + 2, 8 + 1 + 2, 16 + 1 + 2];
    expect(workingSet!.windows.map(({ dirtyPages }) => dirtyPages)).toEqual(pages);
    expect(workingSet!.windows.map(({ trueDirtyPages }) => trueDirtyPages)).toEqual(pages);
    expect(workingSet!.windows.map(({ windowCount }) => windowCount)).toEqual([16, 8, 4, 2, 1]);
    expect(workingSet!.accessedPages).toBe(20n);
    expect(cost!.writeFaults).toBe(48n);
  });

  test('in mode working-set finds zeroes, and how far the rest can be compressed', () => {
    const { shared, write } = still();
    expect(runProbe(shared, settings('working-set'), () => {}).workingSet!.content).toMatchObject({
      pages: 256,
      zeroPages: 256,
      compressedShare: undefined,
    });
    for (let page = 0; page < 256; page++) write(0, page);
    const { content } = runProbe(shared, settings('working-set'), () => {}).workingSet!;
    expect(content!.zeroPages).toBe(0);
    expect(content!.compressedShare).toBeGreaterThan(0);
    expect(content!.compressedShare).toBeLessThan(0.1);
  });

  test('in mode page-sampling takes the share of the sample for that of all, and knows what it does not know', () => {
    const { shared, write } = still();
    const none = runProbe(shared, settings('page-sampling'), () => {});
    expect(none).toMatchObject({ dirtyPages: 0, truth: { dirtyPages: 0n, errorPercent: undefined } });
    expect(none.pageSample).toMatchObject({ sampledPages: 16, changedPages: 0, dirtyPagesLow: 0 });
    expect(none.pageSample!.dirtyPagesHigh).toBeGreaterThan(40);
    const all = runProbe(shared, settings('page-sampling'), () => {
      for (let page = 0; page < 256; page++) write(1, page);
    });
    expect(all).toMatchObject({ dirtyPages: 256, truth: { dirtyPages: 256n, errorPercent: 0 } });
    expect(all.pageSample).toMatchObject({ sampledPages: 16, changedPages: 16, dirtyPagesHigh: 256 });
    expect(all.pageSample!.dirtyPagesLow).toBeLessThan(220);
  });

  test('in mode page-sampling leaves all marks as they are', () => {
    const { shared, write } = still();
    write(0, 1, 7);
    const marks = Buffer.from(shared.pageTable.slice());
    runProbe(shared, settings('page-sampling'), () => {});
    expect(Buffer.from(shared.pageTable).equals(marks)).toBe(true);
  });

  test.each(DIRTY_RATE_MODES.names)("in mode %s leaves out the NIC's pages", (mode) => {
    const network = { address: '', port: 0, forwarder: '127.0.0.1:1', token: '', announce: undefined };
    const shared = allocateGuest({ ...guestSpec(), memoryBytes: 2n * 1024n * 1024n, network });
    const queue = new Virtqueue(shared, QUEUE.REQUESTS);
    const { dirtyPages, truth, workingSet, cost } = runProbe(shared, settings(mode), () => {
      queue.put(new Uint8Array(FLOW_BYTES), Buffer.from('a message'));
    });
    expect(dirtyPages).toBe(0);
    expect(truth!.dirtyPages).toBe(0n);
    expect(cost!.writeFaults).toBe(0n);
    expect(workingSet?.accessedPages ?? 0n).toBe(0n);
  });

  test.each([
    ['dirty-bitmap', 1],
    ['dirty-bitmap', 4],
    ['dirty-ring', 4],
  ] as const)(
    'in mode %s is off by at most the writes at its edges, with %i vCPUs',
    async (mode, vcpuCount) => {
      const guest = await guests.create(guestSpec({ rate: 40_000 }, { vcpuCount, mebibytes: 16 }));
      for (const calcTimeMs of [10, 40, 200]) {
        await untilWritten(guest, 1000);
        const options = { mode: DIRTY_RATE_MODES.of(mode), calcTimeMs, samplePages: 0 };
        const { dirtyPages, truth, vcpus } = await measureDirtyRate(guest.shared, options, NEVER);
        const offBy = Math.abs(dirtyPages - Number(truth!.dirtyPages));
        expect(offBy).toBeLessThanOrEqual(Number(truth!.edgeWrites));
        expect(dirtyPages).toBeGreaterThan(0);
        for (const { dirtyPages: first, trueDirtyPages } of vcpus) {
          expect(first).toBeLessThanOrEqual(trueDirtyPages + truth!.edgeWrites);
        }
      }
      expect((await guest.audit()).faults).toEqual([]);
    },
  );

  test('is ended by its caller, who hears why, and by the end of its guest', async () => {
    const guest = await guests.create(guestSpec());
    const options = { mode: DIRTY_RATE_MODES.of('working-set'), calcTimeMs: 60_000, samplePages: 0 };
    const ending = new AbortController();
    const ended = measureDirtyRate(guest.shared, options, ending.signal);
    ending.abort(new Error('of a test'));
    await expect(ended).rejects.toThrow('measuring the dirty rate of guest subject: ended, since of a test');
    const left = expect(measureDirtyRate(guest.shared, options, guest.ending)).rejects.toThrow(
      'ended, since the guest is no more on this host',
    );
    await guest.destroy();
    await left;
  });
});

describe('an estimate', () => {
  test('of the share of a sample has the bounds of Wilson', () => {
    const { low, high } = wilson(10, 100);
    expect(low).toBeCloseTo(0.0552, 4);
    expect(high).toBeCloseTo(0.1744, 4);
    expect(wilson(0, 10)).toMatchObject({ low: 0 });
    expect(wilson(0, 10).high).toBeCloseTo(0.2775, 4);
  });

  test('of the unique pages never falls with a longer window', () => {
    const windows = Uint16Array.from({ length: 1000 }, (_, page) => (page * 40_503) & 0xffff);
    const counts = curve(windows, windows, 160);
    expect(counts.map(({ ms }) => ms)).toEqual([10, 20, 40, 80, 160]);
    for (const [index, { dirtyPages, trueDirtyPages }] of counts.entries()) {
      expect(dirtyPages).toBe(trueDirtyPages);
      expect(dirtyPages).toBeGreaterThan(counts[index - 1]?.dirtyPages ?? 0);
      expect(dirtyPages).toBeLessThanOrEqual(2 * (counts[index - 1]?.dirtyPages ?? 1000));
    }
  });
});

test('what a probe cannot do is said in words', () => {
  const good = { mode: DIRTY_RATE_MODES.of('page-sampling'), calcTimeMs: 1000, samplePages: 0 };
  expect(dirtyRateProblems(good)).toEqual([]);
  expect(dirtyRateProblems({ ...good, samplePages: 16_384, calcTimeMs: 10 })).toEqual([]);
  expect(dirtyRateProblems({ ...good, calcTimeMs: Number.NaN, samplePages: 127 })).toEqual([
    'calc time is NaN ms; allowed is 10 to 60000 ms',
    'sample pages are 127; allowed is 128 to 16384 for each GiB',
  ]);
  expect(dirtyRateProblems({ mode: 0, calcTimeMs: 60_001, samplePages: 0 })).toEqual([
    'mode is 0; allowed is page-sampling, dirty-bitmap, dirty-ring, working-set',
    'calc time is 60001 ms; allowed is 10 to 60000 ms',
  ]);
  expect(dirtyRateProblems({ ...good, mode: DIRTY_RATE_MODES.of('dirty-ring'), samplePages: 512 })).toEqual([
    'sample pages are 512; only page-sampling has them, leave them out',
  ]);
});
