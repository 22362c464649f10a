/**
 * The layout of a guest's `freeList`: where each field lies, who writes it, who reads it. All are Atomics, but for the
 * blocks, which the counts order. Fields of different writers lie in different cache lines. Its users are free-list.ts
 * and free-reports.ts.
 */

const LINE_BYTES = 64;
const LINE_WORDS = LINE_BYTES / Int32Array.BYTES_PER_ELEMENT;

/** The free list's numbers, doubles. Written by vCPU 0, before it first runs by an incoming mover; read by movers. */
export const ALLOCATED = 0;
export const FREED = 1;
export const BALLOON_FROM = 2;
export const BALLOON_TO = 3;
export const NUMBERS = 4;

/** The command, and the last number that one had. Written by the mover, read by vCPU 0. */
export const COMMAND = LINE_WORDS;
export const LAST_NUMBER = COMMAND + 1;
/** How many blocks were put, and how often the balloon was looked after; counts that wrap. Written by vCPU 0. */
export const PUT = 2 * LINE_WORDS;
export const INFLATIONS = PUT + 1;
/** How many blocks were taken. Written by the mover. */
export const TAKEN = 3 * LINE_WORDS;

const BLOCKS = 4 * LINE_WORDS;
/** The command, the first page, and how many pages. Written by vCPU 0. */
const BLOCK_WORDS = 3;
/** A power of two, since counts wrap. As many as the largest blocks of 1 GiB. */
export const BLOCK_COUNT = 256;

export const FREE_LIST_BYTES = (BLOCKS + BLOCK_COUNT * BLOCK_WORDS) * Int32Array.BYTES_PER_ELEMENT;

/** How much of the state of a guest's devices the numbers are. */
export const FREE_LIST_STATE_BYTES = NUMBERS * Float64Array.BYTES_PER_ELEMENT;

/** Where the block with this count is. */
export function blockOffset(count: number): number {
  return BLOCKS + (count & (BLOCK_COUNT - 1)) * BLOCK_WORDS;
}
