/** Tells whether a page holds only zeroes. Most pages that do not say so in their first words. */

import { PAGE_WORDS } from '../../proto/page.ts';

const WORDS_AT_ONCE = 8;

/** @param words guest memory as 32-bit words */
export function isZeroPage(words: Int32Array, page: number): boolean {
  const start = page * PAGE_WORDS;
  const end = start + PAGE_WORDS;
  for (let index = start; index < end; index += WORDS_AT_ONCE) {
    const bits =
      (words[index] as number) |
      (words[index + 1] as number) |
      (words[index + 2] as number) |
      (words[index + 3] as number) |
      (words[index + 4] as number) |
      (words[index + 5] as number) |
      (words[index + 6] as number) |
      (words[index + 7] as number);
    if (bits !== 0) return false;
  }
  return true;
}
