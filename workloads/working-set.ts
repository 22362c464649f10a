/** The pages that a workload touches, and how they are dealt out. */

import { PAGE_BYTES } from '../proto/page.ts';
import { mix32 } from './hash.ts';

/**
 * The working set's pages, from page 0 on: all pages when `bytes` is 0, at least one, never more than there
 * are.
 */
export function workingSetPages(bytes: bigint, pageCount: number): number {
  if (bytes === 0n) return pageCount;
  return Math.min(pageCount, Math.max(1, Number(bytes / BigInt(PAGE_BYTES))));
}

/**
 * A seeded permutation of the numbers from 0 to `count` - 1 (at most 2^30), without a table: odd
 * multiplications and xor-shifts permute the next power of two, and numbers outside are sent round again
 * until they are inside (cycle walking, Black and Rogaway 2002), less than once on average.
 */
export function permutation(count: number, seedWord: number): (index: number) => number {
  const bits = Math.max(1, 32 - Math.clz32(count - 1));
  const mask = 2 ** bits - 1;
  const shift = (bits + 1) >> 1;
  const first = mix32(seedWord) | 1;
  const second = mix32(seedWord + 1) | 1;
  const added = mix32(seedWord + 2);
  return (index) => {
    let mixed = index;
    do {
      mixed = (Math.imul(mixed, first) + added) & mask;
      mixed = Math.imul(mixed ^ (mixed >>> shift), second) & mask;
      mixed ^= mixed >>> shift;
    } while (mixed >= count);
    return mixed;
  };
}
