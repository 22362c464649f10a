/**
 * Goal: whatever list of pages is sent, over however many channels and under whatever limit, exactly these
 * pages arrive, and the counts are right. Method: the sending and the receiving side over real sockets,
 * memory against memory.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isZeroPage } from '../../../hosts/migration/zero-page.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { PagePath } from '../../support/page-path.ts';

const PAGE_COUNT = 1200;

/** Ascending pages in runs of every length, and which of them hold something. */
const pageLists = fc
  .array(fc.record({ gap: fc.nat(40), length: fc.integer({ min: 1, max: 300 }), zeroEvery: fc.nat(30) }), {
    maxLength: 12,
  })
  .map((runs) => {
    const pages: { page: number; isZero: boolean }[] = [];
    let page = 0;
    for (const { gap, length, zeroEvery } of runs) {
      page += gap;
      for (let index = 0; index < length && page < PAGE_COUNT; index++, page++) {
        pages.push({ page, isZero: zeroEvery > 0 && index % zeroEvery === 0 });
      }
    }
    return pages;
  });

describe('pages on their way', () => {
  test('arrive, these and no others, with zero pages as marks, twice in a row', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, 2, 3),
        fc.constantFrom(0, 200_000_000),
        fc.array(pageLists, { minLength: 2, maxLength: 2 }),
        async (channelCount, bytesPerS, lists) => {
          const path = await PagePath.make({ channelCount, bytesPerS, pageCount: PAGE_COUNT });
          try {
            const expected = new Uint8Array(path.destination.length);
            for (const [round, list] of lists.entries()) {
              // Also the pages that are not sent have changed.
              path.source.fill(round + 1);
              for (const { page, isZero } of list) {
                const start = page * PAGE_BYTES;
                if (isZero) path.source.fill(0, start, start + PAGE_BYTES);
                else path.source[start + 5] = page & 0xff;
                expected.set(path.source.subarray(start, start + PAGE_BYTES), start);
              }
              await path.send(list.map(({ page }) => page));
              expect(Buffer.compare(path.destination, expected)).toBe(0);
            }
            const all = lists.flat();
            const distinct = new Set(all.map(({ page }) => page)).size;
            expect(path.sender.counts).toMatchObject({
              zeroPages: all.filter(({ isZero }) => isZero).length,
              dataPages: all.filter(({ isZero }) => !isZero).length,
              resentPages: all.length - distinct,
            });
          } finally {
            await path.close();
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('arrive when they are more runs than a frame takes', async () => {
    const path = await PagePath.make({ pageCount: PAGE_COUNT });
    try {
      path.source.fill(1);
      const everyPage = Array.from({ length: PAGE_COUNT }, (_, page) => page);
      await path.send(everyPage);
      path.source.fill(0);
      const everyOther = everyPage.filter((page) => page % 2 === 0);
      await path.send(everyOther);
      const zeroes = everyPage.filter((page) => path.destination[page * PAGE_BYTES] === 0);
      expect(zeroes).toEqual(everyOther);
    } finally {
      await path.close();
    }
  });

  test('stop after a frame when they are told to, and say where', async () => {
    const path = await PagePath.make({ pageCount: PAGE_COUNT });
    try {
      path.source.fill(1);
      const pages = Uint32Array.from({ length: PAGE_COUNT }, (_, page) => page);
      expect(await path.sender.send(pages, 0, PAGE_COUNT, () => false)).toBe(256);
      expect(path.sender.counts.dataPages).toBe(256);
    } finally {
      await path.close();
    }
  });
});

test('a page with one byte that is not zero is no zero page, wherever the byte is', () => {
  const memory = new Uint8Array(3 * PAGE_BYTES);
  const words = new Int32Array(memory.buffer);
  memory.fill(0xff, 0, PAGE_BYTES);
  memory.fill(0xff, 2 * PAGE_BYTES);
  expect(isZeroPage(words, 1)).toBe(true);
  for (let byte = PAGE_BYTES; byte < 2 * PAGE_BYTES; byte++) {
    memory[byte] = 0x80;
    expect(isZeroPage(words, 1)).toBe(false);
    memory[byte] = 0;
  }
});

test('pages beyond 4 GiB arrive at their places, alone, in long runs and as zeroes', async () => {
  const pagesIn4Gib = 2 ** 32 / PAGE_BYTES;
  // Never touched, the rest of it takes no memory.
  const path = await PagePath.make({ channelCount: 2, pageCount: pagesIn4Gib + PAGE_COUNT });
  const pages = [3, 5, 6, ...Array.from({ length: 40 }, (_, index) => 600 + index)];
  const beyond = pages.map((page) => pagesIn4Gib + page);
  for (const page of beyond) path.source.fill(page % 251, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  path.source.fill(0, beyond[0]! * PAGE_BYTES, (beyond[0]! + 1) * PAGE_BYTES);
  path.destination.fill(9, beyond[1]! * PAGE_BYTES, (beyond[1]! + 1) * PAGE_BYTES);
  await path.send(beyond);
  for (const page of [...pages, ...beyond]) {
    const [start, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES];
    const same = Buffer.from(path.destination.subarray(start, end)).equals(path.source.subarray(start, end));
    expect(same, `page ${page}`).toBe(true);
  }
  await path.close();
});
