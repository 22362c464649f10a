/** Runs of pages in a set of pages: as if each page had been added or taken out alone. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_PAGE, PageSet } from '../../hosts/migration/page-set.ts';

/** More than one level over the pages. */
const PAGES = 2500;
const RUN = fc.record({
  adds: fc.boolean(),
  firstPage: fc.nat(PAGES - 1),
  pageCount: fc.oneof(fc.nat(70), fc.nat(PAGES)),
});

test('adding and taking out a run is that of its pages', () => {
  fc.assert(
    fc.property(fc.array(RUN, { maxLength: 12 }), (runs) => {
      const set = new PageSet(PAGES);
      const model = new Set<number>();
      for (const { adds, firstPage, pageCount } of runs) {
        const count = Math.min(pageCount, PAGES - firstPage);
        if (adds) set.addRun(firstPage, count);
        else set.deleteRun(firstPage, count);
        for (let page = firstPage; page < firstPage + count; page++) {
          if (adds) model.add(page);
          else model.delete(page);
        }
      }
      const found: number[] = [];
      for (let page = set.atOrAfter(0); page !== NO_PAGE; page = set.atOrAfter(page + 1)) found.push(page);
      expect(found).toEqual([...model].sort((a, b) => a - b));
      expect(set.size).toBe(model.size);
      expect(set.atOrBefore(PAGES - 1)).toBe(found.at(-1) ?? NO_PAGE);
    }),
  );
});

test('a run that is not of the guest is not added', () => {
  expect(() => new PageSet(PAGES).addRun(PAGES - 1, 2)).toThrow(RangeError);
});
