/** What a delta saves of a page that is sent again, and what it counts, as QEMU's xbzrle-cache does. */

import { afterEach, expect, test } from 'vitest';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { PagePath } from '../../support/page-path.ts';

const PAGES = 64;
const ALL = Array.from({ length: PAGES }, (_, page) => page);

const paths: PagePath[] = [];

afterEach(async () => {
  for (const path of paths.splice(0)) await path.close();
});

async function make(cachePages: number): Promise<PagePath> {
  const transforms = { deltaCacheBytes: BigInt(cachePages * PAGE_BYTES) };
  const path = await PagePath.make({ pageCount: PAGES, transforms });
  paths.push(path);
  path.source.forEach((_, index, memory) => {
    memory[index] = 1 + (Math.imul(index, 0x9e3779b1) >>> 25);
  });
  return path;
}

/** Changes so many bytes in the middle of each page. */
function change({ source }: PagePath, bytes: number): void {
  for (const page of ALL) {
    for (let index = 1000; index < 1000 + bytes; index++) source[page * PAGE_BYTES + index]! ^= 0x80;
  }
}

function counts(path: PagePath): object | undefined {
  const report = path.reports.source.find(({ name }) => name === 'delta');
  return report && { hits: report.hits, misses: report.misses, overflows: report.overflows };
}

test('of 64 bytes changed in each page less than 0.15 of the pages crosses the wire', async () => {
  const path = await make(PAGES);
  await path.send(ALL);
  const firstBytes = path.sentBytes;
  change(path, 64);
  await path.send(ALL);
  expect(Buffer.compare(path.destination, path.source)).toBe(0);
  expect((path.sentBytes - firstBytes) / (PAGES * PAGE_BYTES)).toBeLessThan(0.15);
  expect(counts(path)).toEqual({ hits: 64n, misses: 64n, overflows: 0n });
});

test('a page that changed throughout goes as it is, and is the base of the next delta', async () => {
  const path = await make(PAGES);
  await path.send(ALL);
  for (const [index, byte] of path.source.entries()) path.source[index] = byte ^ 0xff;
  await path.send(ALL);
  expect(counts(path)).toEqual({ hits: 0n, misses: 64n, overflows: 64n });
  change(path, 8);
  await path.send(ALL);
  expect(Buffer.compare(path.destination, path.source)).toBe(0);
  expect(counts(path)).toEqual({ hits: 64n, misses: 64n, overflows: 64n });
});

test('what does not fit the cache goes as it is', async () => {
  const path = await make(PAGES / 4);
  await path.send(ALL);
  change(path, 64);
  await path.send(ALL);
  expect(Buffer.compare(path.destination, path.source)).toBe(0);
  expect(counts(path)).toEqual({ hits: 16n, misses: 112n, overflows: 0n });
});

test('a page of zeroes is a base, too: its first words are a delta', async () => {
  const path = await make(PAGES);
  path.source.fill(0);
  await path.send(ALL);
  change(path, 8);
  await path.send(ALL);
  path.source.fill(0);
  await path.send(ALL);
  change(path, 16);
  await path.send(ALL);
  expect(Buffer.compare(path.destination, path.source)).toBe(0);
  expect(counts(path)).toEqual({ hits: 128n, misses: 0n, overflows: 0n });
});
