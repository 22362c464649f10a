/** That each workload does what its name says: shares, order and popularity of the pages that it writes. */

import { describe, expect, it } from 'vitest';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { createWorkload } from '../../../workloads/registry.ts';
import { zeta } from '../../../workloads/zipfian.ts';
import { contextOf, PAGE_COUNT, record, specOf, traceBytes } from './support.ts';

const OPERATIONS = 100_000;

/** How often each page was written, most often first. */
function popularity(written: readonly number[]): number[] {
  const counts = new Map<number, number>();
  for (const page of written) counts.set(page, (counts.get(page) ?? 0) + 1);
  return [...counts.values()].sort((a, b) => b - a);
}

function pagesInBytes(pages: number): bigint {
  return BigInt(pages * PAGE_BYTES);
}

it('uniform writes every page of the working set about equally often', () => {
  const { written } = record(
    createWorkload(contextOf(specOf('uniform', { workingSetBytes: pagesInBytes(100) }))),
    OPERATIONS,
  );
  const counts = popularity(written);
  expect(counts).toHaveLength(100);
  // 1000 each, with a standard deviation of 31.5.
  expect(Math.max(...counts)).toBeLessThan(1200);
  expect(Math.min(...counts)).toBeGreaterThan(800);
});

it('sequential writes every page once before any twice, however many vCPUs sweep', () => {
  const spec = specOf('sequential', { workingSetBytes: pagesInBytes(10) });
  const sweeps = [0, 1, 2].map(
    (vcpu) => record(createWorkload(contextOf(spec, { vcpu, vcpuCount: 3 })), 4).written,
  );
  expect(sweeps).toEqual([
    [0, 1, 2, 0],
    [3, 4, 5, 3],
    [6, 7, 8, 9],
  ]);
});

describe('hot-cold', () => {
  it('writes the working set with the share that it is given', () => {
    const spec = specOf('hot-cold', { workingSetBytes: pagesInBytes(64), hot: 0.7 });
    const { written } = record(createWorkload(contextOf(spec)), OPERATIONS);
    expect(written.filter((page) => page < 64).length / OPERATIONS).toBeCloseTo(0.7, 2);
    expect(new Set(written).size).toBe(PAGE_COUNT);
  });

  it('writes everywhere when the working set is all memory', () => {
    const { written } = record(createWorkload(contextOf(specOf('hot-cold', { hot: 0 }))), OPERATIONS);
    expect(new Set(written).size).toBe(PAGE_COUNT);
  });
});

describe('zipf', () => {
  it.each([0, 0.5, 0.99])('with theta %d gives each rank its share', (theta) => {
    const { written } = record(createWorkload(contextOf(specOf('zipf', { theta }))), OPERATIONS);
    const counts = popularity(written);
    // Sampling noise sorts to the top, which shows only when all pages are alike.
    const tenthDue = zeta(102, theta) / zeta(PAGE_COUNT, theta);
    const tenth = counts.slice(0, 102).reduce((sum, count) => sum + count) / OPERATIONS;
    expect(Math.abs(tenth - tenthDue)).toBeLessThan(0.025);
    if (theta === 0.99) {
      expect((counts[0] as number) / OPERATIONS).toBeCloseTo(1 / zeta(PAGE_COUNT, theta), 2);
      expect((counts[1] as number) / OPERATIONS).toBeCloseTo(0.5 ** theta / zeta(PAGE_COUNT, theta), 2);
    }
  });

  it('spreads the hot pages, in the same way on all vCPUs', () => {
    const spec = specOf('zipf');
    const hottest = [0, 1].map((vcpu) => {
      const { written } = record(createWorkload(contextOf(spec, { vcpu, vcpuCount: 2 })), OPERATIONS);
      const counts = new Array<number>(PAGE_COUNT).fill(0);
      for (const page of written) counts[page] = (counts[page] as number) + 1;
      const ranked = [...counts.keys()].sort((a, b) => (counts[b] as number) - (counts[a] as number));
      return ranked.slice(0, 32);
    });
    expect(hottest[0]?.slice(0, 4)).toEqual(hottest[1]?.slice(0, 4));
    const hot = new Set(hottest[0]);
    const withHotNeighbour = [...hot].filter((page) => hot.has(page + 1));
    expect(withHotNeighbour.length).toBeLessThan(8);
  });

  it('adds up the harmonic series as one by one', () => {
    for (const theta of [0, 0.3, 0.999]) {
      let sum = 0;
      for (let term = 1; term <= 50_000; term++) sum += term ** -theta;
      expect(zeta(50_000, theta)).toBeCloseTo(sum, 7);
    }
  });
});

describe('kv', () => {
  it('reads, scans and updates with the shares that it is given', () => {
    const spec = specOf('kv', { read: 0.5, scan: 0.2, scanLength: 10 });
    const { written, reads } = record(createWorkload(contextOf(spec)), OPERATIONS);
    expect(written.length / OPERATIONS).toBeCloseTo(0.3, 2);
    expect(reads.length / OPERATIONS).toBeCloseTo(0.5 + 0.2 * 10, 1);
  });

  it('scans one record after the other, and round at the end of the working set', () => {
    const spec = specOf('kv', { workingSetBytes: pagesInBytes(7), read: 0, scan: 1, scanLength: 9 });
    const { reads } = record(createWorkload(contextOf(spec)), 1);
    const first = reads[0] as number;
    expect(reads).toEqual(Array.from({ length: 9 }, (_, step) => (first + step) % 7));
  });
});

describe('trace', () => {
  const trace = traceBytes([
    [0, 5],
    [10, 6],
    [20, 7],
    [20, 8],
    [30, 9],
  ]);

  it('deals its entries to the vCPUs in turn and stops after the last', () => {
    const replays = [0, 1].map((vcpu) =>
      record(createWorkload(contextOf(specOf('trace', { trace }), { vcpu, vcpuCount: 2 })), 4),
    );
    expect(replays.map(({ written }) => written)).toEqual([
      [5, 7, 9],
      [6, 8],
    ]);
    expect(replays[1]?.writeCounts).toEqual([1, 1, 0, 0]);
  });

  it('reads a trace that does not begin at a multiple of four bytes', () => {
    const shifted = Buffer.concat([Buffer.from([255]), trace]).subarray(1);
    const { written } = record(createWorkload(contextOf(specOf('trace', { trace: shifted }))), 5);
    expect(written).toEqual([5, 6, 7, 8, 9]);
  });
});
