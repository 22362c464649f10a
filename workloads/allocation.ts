/**
 * What the kernel of a guest leaves in a page that it takes from its free list: the whole page, as a kernel
 * zeroes one, but with a content that tells whose it is. It follows from (seed, page, allocation), where the
 * allocations of a guest are counted from 0, so that an audit knows of each page in use what it must hold,
 * whichever host wrote it.
 */

import { PAGE_WORDS } from '../proto/page.ts';
import { GOLDEN, mix32, seedWord } from './hash.ts';
import type { MemoryWords } from './stamp.ts';

const ALLOCATION_PURPOSE = 4;
const LOW_WORDS = 2 ** 32;
/** The number of the allocation, low word first; the rest follows from it. */
const HEAD_WORDS = 2;

/** The word that contents start from, for a guest's seed. */
export function allocationSeedWord(seed: bigint): number {
  return seedWord(seed, ALLOCATION_PURPOSE);
}

/** Fills a page. @param allocation its number; a safe integer */
export function writeAllocation(words: Int32Array, seed: number, page: number, allocation: number): void {
  const start = page * PAGE_WORDS;
  const end = start + PAGE_WORDS;
  words[start] = allocation | 0;
  words[start + 1] = Math.floor(allocation / LOW_WORDS);
  let state = firstState(seed, page, allocation);
  for (let index = start + HEAD_WORDS; index < end; index++) {
    state = nextState(state);
    words[index] = state;
  }
}

/** What is wrong with a page that an allocation must have left there; undefined when nothing is. */
export function checkAllocation(
  words: MemoryWords,
  seed: number,
  page: number,
  allocation: number,
): { readonly kind: 'lost-write' | 'torn'; readonly detail: string } | undefined {
  const start = page * PAGE_WORDS;
  const found = ((words[start] as number) >>> 0) + (words[start + 1] as number) * LOW_WORDS;
  const wrong = firstWrongWord(words, seed, page, found);
  if (found === allocation && wrong === undefined) return undefined;
  const kind = wrong === undefined ? 'lost-write' : 'torn';
  const rest = wrong === undefined ? 'the page agrees with that' : `word ${wrong} does not agree with that`;
  return { kind, detail: `allocation ${found}, expected ${allocation}; ${rest}` };
}

function firstWrongWord(
  words: MemoryWords,
  seed: number,
  page: number,
  allocation: number,
): number | undefined {
  const start = page * PAGE_WORDS;
  let state = firstState(seed, page, allocation);
  for (let index = HEAD_WORDS; index < PAGE_WORDS; index++) {
    state = nextState(state);
    if (((words[start + index] as number) | 0) !== state) return index;
  }
  return undefined;
}

function firstState(seed: number, page: number, allocation: number): number {
  return mix32(mix32(seed ^ Math.imul(page, GOLDEN)) + (allocation | 0)) || 1;
}

/** xorshift32 (Marsaglia 2003). */
function nextState(state: number): number {
  let next = state ^ (state << 13);
  next ^= next >>> 17;
  return next ^ (next << 5);
}
