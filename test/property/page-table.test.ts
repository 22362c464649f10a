/**
 * The software page table as a set of dirty pages: what is collected is what was marked, no more and no less.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_PRESENT,
  PAGE_READY,
  PageTable,
  runsOf,
} from '../../hosts/guest/page-table.ts';

/** Page counts around multiples of 8, and entries of each kind. */
const entriesOf = fc
  .integer({ min: 1, max: 600 })
  .chain((pageCount) =>
    fc.uint8Array({ minLength: pageCount, maxLength: pageCount, max: PAGE_READY }).map((entries) => entries),
  );

function tableOf(entries: Uint8Array): PageTable {
  const buffer = new SharedArrayBuffer(Math.ceil(entries.length / 8) * 8);
  new Uint8Array(buffer).set(entries);
  return new PageTable(buffer, entries.length);
}

function dirtyPages(entries: Uint8Array): number[] {
  return [...entries.keys()].filter((page) => ((entries[page] ?? 0) & PAGE_DIRTY) !== 0);
}

describe('collecting dirty pages', () => {
  test('answers exactly the dirty pages in ascending order, and takes only their dirty marks off', () => {
    fc.assert(
      fc.property(entriesOf, (entries) => {
        const table = tableOf(entries);
        const into = new Uint32Array(entries.length);
        expect(table.countDirty()).toBe(dirtyPages(entries).length);
        const count = table.collectDirty(into);
        expect([...into.subarray(0, count)]).toEqual(dirtyPages(entries));
        expect([...table.entries]).toEqual([...entries].map((entry) => entry & ~PAGE_DIRTY));
        expect(table.collectDirty(into)).toBe(0);
      }),
    );
  });

  test('finds what was marked since the last time, however often a page was marked', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.array(fc.array(fc.nat(599))), (pageCount, rounds) => {
        const table = tableOf(new Uint8Array(pageCount).fill(PAGE_PRESENT));
        const into = new Uint32Array(pageCount);
        for (const round of rounds) {
          const pages = round.map((page) => page % pageCount);
          for (const page of pages) table.markDirty(page);
          const count = table.collectDirty(into);
          expect([...into.subarray(0, count)]).toEqual([...new Set(pages)].sort((a, b) => a - b));
          for (const page of pages) expect(table.entries[page]).toBe(PAGE_PRESENT | PAGE_ACCESSED);
        }
      }),
    );
  });

  test('is undone by marking all pages, and done without an answer by clearing', () => {
    fc.assert(
      fc.property(entriesOf, (entries) => {
        const table = tableOf(entries);
        table.markAllDirty();
        expect(table.countDirty()).toBe(entries.length);
        table.clearDirty();
        expect(table.countDirty()).toBe(0);
        expect([...table.entries]).toEqual(
          [...entries].map((entry) => (entry | PAGE_ACCESSED) & ~PAGE_DIRTY),
        );
      }),
    );
  });

  test('refuses room for fewer pages than there are', () => {
    const table = tableOf(new Uint8Array(256));
    expect(() => table.collectDirty(new Uint32Array(255))).toThrow('room for 255 of 256 pages');
  });
});

describe('runs of pages', () => {
  test('cover exactly the pages, and no two of them touch', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(500)), fc.nat(10), (numbers, room) => {
        const pages = numbers.sort((a, b) => a - b);
        const runs: [number, number][] = [];
        // What lies behind the count is not the caller's.
        const list = new Uint32Array(pages.length + room).fill(0);
        list.set(pages);
        runsOf(list, pages.length, (firstPage, pageCount) => runs.push([firstPage, pageCount]));
        const covered = runs.flatMap(([first, count]) =>
          Array.from({ length: count }, (_, at) => first + at),
        );
        expect(covered).toEqual(pages);
        for (const [index, [first]] of runs.entries()) {
          const before = runs[index - 1];
          if (before !== undefined) expect(first).toBeGreaterThan(before[0] + before[1]);
        }
      }),
    );
  });
});
