/** The orders of post-copy's push, held against the papers' algorithms and against their promises. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NO_PAGE, PageSet } from '../../../hosts/migration/page-set.ts';
import { Bubbling } from '../../../hosts/migration/push-order/bubbling.ts';
import type { PushOrder } from '../../../hosts/migration/push-order/push-order.ts';
import { pushOrder } from '../../../hosts/migration/push-order/registry.ts';
import {
  type MigrationOptions,
  PostcopyBubble,
  PostcopyPush,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions, MIGRATION_LIMITS } from '../../../proto/migration-options.ts';

const { POSTCOPY_PUSH_NONE, POSTCOPY_PUSH_SEQUENTIAL, POSTCOPY_PUSH_BUBBLING } = PostcopyPush;
const { POSTCOPY_BUBBLE_DUAL, POSTCOPY_BUBBLE_FORWARD } = PostcopyBubble;

function options(changes: Partial<MigrationOptions>): MigrationOptions {
  return { ...defaultMigrationOptions('pre-copy'), ...changes };
}

/** Pushes as often as told, or to the end; answers the pages. */
function push(order: PushOrder, unsent: PageSet, times = Number.POSITIVE_INFINITY): number[] {
  const pages: number[] = [];
  while (pages.length < times) {
    const page = order.next();
    if (page === undefined) break;
    expect(unsent.delete(page), `page ${page} was pushed before`).toBe(true);
    pages.push(page);
  }
  return pages;
}

/** A fault, as the source serves it. */
function fault(order: PushOrder, unsent: PageSet, page: number): void {
  unsent.delete(page);
  order.demanded(page);
}

function bubbling(pageCount: number, pivots: number, sides: 'dual' | 'forward' = 'dual') {
  const unsent = PageSet.all(pageCount);
  return { unsent, order: new Bubbling(unsent, { pivots, sides }) };
}

describe('a set of pages', () => {
  it('answers as a plain set does, with its next pages to both sides', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('add', 'delete'), fc.nat(69_999)), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.boolean(), fc.integer({ min: 1, max: 70_000 }), (changes, full, pageCount) => {
        const set = full ? PageSet.all(pageCount) : new PageSet(pageCount);
        const plain = new Set(full ? Array.from({ length: pageCount }, (_, page) => page) : []);
        for (const [what, number] of changes) {
          const page = number % pageCount;
          if (what === 'add') expect(set.add(page)).toBe(!plain.has(page));
          else expect(set.delete(page)).toBe(plain.has(page));
          if (what === 'add') plain.add(page);
          else plain.delete(page);
        }
        expect(set.size).toBe(plain.size);
        const found: number[] = [];
        for (let page = set.atOrAfter(0); page !== NO_PAGE; page = set.atOrAfter(page + 1)) found.push(page);
        expect(found).toEqual([...plain].sort((a, b) => a - b));
        for (const [, number] of changes.slice(0, 20)) {
          const page = number % pageCount;
          const below = found.findLast((each) => each <= page) ?? NO_PAGE;
          expect(set.atOrBefore(page)).toBe(below);
          expect(set.has(page)).toBe(below === page);
          let absent = page;
          while (plain.has(absent)) absent++;
          expect(set.absentFrom(page)).toBe(absent);
        }
        expect(set.atOrBefore(-1)).toBe(NO_PAGE);
        const copy = PageSet.fromBitmap(pageCount, set.bitmap);
        expect(copy.size).toBe(set.size);
        for (const page of found) {
          expect(copy.atOrAfter(page)).toBe(page);
          copy.delete(page);
        }
        expect([copy.atOrAfter(0), copy.size]).toEqual([NO_PAGE, 0]);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses a bitmap of another size, or with a page that the guest does not have', () => {
    expect(() => PageSet.fromBitmap(33, new Uint8Array(4))).toThrow(
      'a bitmap of 4 bytes is not one of 33 pages',
    );
    const behind = new Uint8Array(8);
    behind[4] = 0b10;
    expect(() => PageSet.fromBitmap(33, behind)).toThrow('names a page behind the last of 33 pages');
    expect(PageSet.fromBitmap(34, behind).atOrAfter(0)).toBe(33);
  });

  it('refuses a page that the guest does not have', () => {
    expect(() => new PageSet(64).add(64)).toThrow('page 64 is not one of 64 pages');
  });
});

describe('every order', () => {
  const anyOptions = fc.record({
    push: fc.constantFrom(POSTCOPY_PUSH_SEQUENTIAL, POSTCOPY_PUSH_BUBBLING),
    pivots: fc.integer({ min: 1, max: MIGRATION_LIMITS.pivotsMax }),
    bubble: fc.constantFrom(POSTCOPY_BUBBLE_DUAL, POSTCOPY_BUBBLE_FORWARD),
    accessedFirst: fc.boolean(),
  });

  it('pushes each page exactly once that is not demanded, whatever is demanded when', () => {
    const pages = fc.uniqueArray(fc.nat(2047), { maxLength: 300 });
    const demands = fc.array(fc.tuple(fc.nat(5), fc.nat(2047)), { maxLength: 60 });
    fc.assert(
      fc.property(anyOptions, pages, pages, demands, (chosen, missing, accessed, faults) => {
        const unsent = new PageSet(2048);
        for (const page of missing) unsent.add(page);
        const accessedSet = new PageSet(2048);
        for (const page of accessed) accessedSet.add(page);
        const order = pushOrder(options(chosen), unsent, accessedSet);
        const sent: number[] = [];
        for (const [pushes, page] of faults) {
          if (unsent.has(page)) sent.push(page);
          fault(order, unsent, page);
          sent.push(...push(order, unsent, pushes));
        }
        sent.push(...push(order, unsent));
        expect(sent.toSorted((a, b) => a - b)).toEqual(missing.toSorted((a, b) => a - b));
      }),
    );
  });

  it('answers the same page until it has been sent', () => {
    const { unsent, order } = bubbling(100, 3);
    expect([order.next(), order.next()]).toEqual([0, 0]);
    unsent.delete(0);
    expect(order.next()).toBe(1);
  });
});

describe('demand paging alone', () => {
  it('pushes nothing, also when accessed pages would come first', () => {
    const chosen = options({ push: POSTCOPY_PUSH_NONE, accessedFirst: true });
    expect(pushOrder(chosen, PageSet.all(64), PageSet.all(64)).next()).toBeUndefined();
  });
});

describe('the sequential order', () => {
  it('starts at the first page, goes on from each fault, and from the last page on with the first', () => {
    const unsent = PageSet.all(10);
    const order = pushOrder(options({ push: POSTCOPY_PUSH_SEQUENTIAL }), unsent, new PageSet(10));
    expect(push(order, unsent, 2)).toEqual([0, 1]);
    fault(order, unsent, 6);
    expect(push(order, unsent, 2)).toEqual([7, 8]);
    fault(order, unsent, 3);
    expect(push(order, unsent)).toEqual([4, 5, 9, 2]);
  });
});

describe('bubbling with one pivot', () => {
  /** The algorithm as Hines and Gopalan have it, walking through every round. */
  function* asInThePaper(
    unsent: PageSet,
    sides: 'dual' | 'forward',
    pivot: number,
    bubble: number,
  ): Generator<number, undefined> {
    const { pageCount } = unsent;
    for (let reach = bubble; reach <= pageCount; reach++) {
      if (sides === 'forward') yield (pivot + reach) % pageCount;
      else yield* [pivot - reach, pivot + reach].filter((page) => page >= 0 && page < pageCount);
    }
    return undefined;
  }

  it("is the paper's algorithm, page by page", () => {
    const anySides = fc.constantFrom('dual' as const, 'forward' as const);
    const faults = fc.array(fc.tuple(fc.nat(40), fc.nat(299)), { maxLength: 20 });
    fc.assert(
      fc.property(anySides, faults, (sides, demands) => {
        const { unsent, order } = bubbling(300, 1, sides);
        let paper = asInThePaper(unsent, sides, 0, 0);
        for (const [pushes, page] of [...demands, [300, 0] as const]) {
          for (let count = 0; count < pushes && unsent.size > 0; count++) {
            let expected = paper.next().value;
            while (expected !== undefined && !unsent.has(expected)) expected = paper.next().value;
            expect(push(order, unsent, 1)).toEqual([expected]);
          }
          fault(order, unsent, page);
          paper = asInThePaper(unsent, sides, page, 1);
        }
      }),
    );
  });

  it('grows to the one side alone when the other is at its end', () => {
    const { unsent, order } = bubbling(8, 1);
    fault(order, unsent, 6);
    expect(push(order, unsent)).toEqual([5, 7, 4, 3, 2, 1, 0]);
  });
});

describe('bubbling with several pivots', () => {
  it('moves every edge on by one page in turn', () => {
    const { unsent, order } = bubbling(1000, 3);
    fault(order, unsent, 0);
    fault(order, unsent, 400);
    fault(order, unsent, 800);
    expect(push(order, unsent, 10)).toEqual([1, 399, 401, 799, 801, 2, 398, 402, 798, 802]);
  });

  it('forward only, goes to higher pages, and from the last on with the first', () => {
    const { unsent, order } = bubbling(8, 2, 'forward');
    fault(order, unsent, 3);
    fault(order, unsent, 6);
    expect(push(order, unsent)).toEqual([4, 7, 5, 0, 1, 2]);
  });

  it('puts a fault away from every bubble in place of the pivot that was longest without one', () => {
    const { unsent, order } = bubbling(1000, 2);
    fault(order, unsent, 200);
    fault(order, unsent, 1);
    fault(order, unsent, 600);
    // At 1, whose bubble had begun at 0, there was a fault after the one at 200.
    expect(push(order, unsent, 5)).toEqual([0, 2, 599, 601, 3]);
  });

  it('moves the pivot of a bubble that a fault meets', () => {
    const { unsent, order } = bubbling(1000, 2);
    fault(order, unsent, 500);
    expect(push(order, unsent, 7)).toEqual([0, 1, 499, 501, 2, 498, 502]);
    fault(order, unsent, 503);
    expect(push(order, unsent, 4)).toEqual([3, 504, 4, 505]);
  });

  it('lets bubbles that meet grow on at their outer edges only', () => {
    const { unsent, order } = bubbling(40, 2);
    fault(order, unsent, 0);
    fault(order, unsent, 10);
    fault(order, unsent, 16);
    expect(push(order, unsent, 9)).toEqual([9, 11, 15, 17, 8, 12, 14, 18, 7]);
    expect(push(order, unsent, 4)).toEqual([13, 19, 6, 20]);
  });
});

describe('accessed pages first', () => {
  it('pushes what was accessed in the order of the push, then the rest', () => {
    const unsent = PageSet.all(8);
    const accessed = new PageSet(8);
    for (const page of [1, 4, 6]) accessed.add(page);
    unsent.delete(4);
    const chosen = options({ push: POSTCOPY_PUSH_SEQUENTIAL, accessedFirst: true });
    const order = pushOrder(chosen, unsent, accessed);
    fault(order, unsent, 5);
    expect(push(order, unsent)).toEqual([6, 1, 7, 0, 2, 3]);
  });
});
