/** What an allocation leaves in a page: it is known for what it is, and for nothing else. */

import { expect, it } from 'vitest';
import { PAGE_WORDS } from '../../../proto/page.ts';
import { allocationSeedWord, checkAllocation, writeAllocation } from '../../../workloads/allocation.ts';

const seed = allocationSeedWord(7n);
const LATE = 2 ** 40 + 5;

it('is right in its page, and an earlier one is a lost write', () => {
  const words = new Int32Array(4 * PAGE_WORDS);
  writeAllocation(words, seed, 3, LATE);
  expect(checkAllocation(words, seed, 3, LATE)).toBeUndefined();
  expect(checkAllocation(words, seed, 3, LATE + 1)?.kind).toBe('lost-write');
  expect(checkAllocation(words, allocationSeedWord(8n), 3, LATE)?.kind).toBe('torn');
});

it('is torn when a single word is another, or when it is of another page', () => {
  const words = new Int32Array(2 * PAGE_WORDS);
  writeAllocation(words, seed, 0, 9);
  words.copyWithin(PAGE_WORDS, 0, PAGE_WORDS);
  expect(checkAllocation(words, seed, 1, 9)?.kind).toBe('torn');
  words[PAGE_WORDS - 1] = (words[PAGE_WORDS - 1] as number) ^ 1;
  expect(checkAllocation(words, seed, 0, 9)?.kind).toBe('torn');
  expect(checkAllocation(words, seed, 0, 9)?.detail).toContain('word 1023');
});
