/**
 * What guest memory holds at boot: the share of pages that are zero, that are copies within the guest or
 * across guests, and what a compressor can take away from the rest. Everything that a transform saves (zero
 * pages, deduplication, compression) follows from these. The same model and seed give the same bytes, in any
 * order of filling.
 *
 * Classes come in runs, as allocators hand memory out: each block of 64 pages (256 KiB) has one run of each
 * class, at a seeded rotation. The counts of each class over the blocks up to any point are exact within a
 * page or two.
 */

import type { ContentModel } from '../proto/generated/godwit/v1/guest.ts';
import { PAGE_BYTES, PAGE_WORDS } from '../proto/page.ts';
import { GOLDEN, mix32, seedWord } from './hash.ts';
import { LANE_COUNT, LANE_WORDS, SLOT_COUNT } from './stamp.ts';

export const PAGE_CLASSES = ['zero', 'duplicate', 'shared', 'unique'] as const;
export type PageClass = (typeof PAGE_CLASSES)[number];

/** How many pages `duplicate` pages are copies of; `shared` ones too, unless the model has an image of another size. */
export const ORIGINAL_COUNT = 16;

const BLOCK_PAGES = 64;
const GUEST_PURPOSE = 2;
const SHARED_PURPOSE = 3;
/** Shared pages are the same in every guest, so they cannot follow the guest's own compressibility. */
const SHARED_COMPRESSIBLE = 0.5;

export interface Content {
  pageClass(page: number): PageClass;
  /** Fills in one page: `words` is its 1024 words, whatever they held. Word 0 of each lane becomes 0. */
  fillPage(words: Uint32Array, page: number): void;
  /**
   * Fills in the pages from `fromPage` up to but not including `toPage`. The memory must be as it was made,
   * all zeroes: zero pages are left alone, so that they take up no RAM until the guest writes to them.
   */
  fillMemory(memory: SharedArrayBuffer, fromPage: number, toPage: number): void;
  /** Fills in the 128 words that a lane of a page holds at boot. */
  readonly bootLane: (page: number, vcpu: number, into: Uint32Array) => void;
}

/** The boot content of a guest with this model and seed. Shares are from 0 to 1, their sum at most 1. */
export function createContent(model: ContentModel, seed: bigint): Content {
  const guestSeed = seedWord(seed, GUEST_PURPOSE);
  const sharedSeed = seedWord(0n, SHARED_PURPOSE);
  const imageBytes = Number(model.imageBytes ?? 0n);
  const imagePages = Math.floor(imageBytes / PAGE_BYTES) || ORIGINAL_COUNT;
  const ends = new Uint8Array(3);

  /** A page's class, as an index of PAGE_CLASSES. */
  function classIndex(page: number): number {
    const block = Math.floor(page / BLOCK_PAGES);
    blockRuns(model, block, ends);
    const rotation = mix32(guestSeed ^ Math.imul(block, GOLDEN));
    const position = (page + rotation) & (BLOCK_PAGES - 1);
    let index = 0;
    while (index < ends.length && position >= (ends[index] as number)) index++;
    return index;
  }

  function fillLane(words: Uint32Array, offset: number, page: number, lane: number): void {
    switch (PAGE_CLASSES[classIndex(page)] as PageClass) {
      case 'zero':
        words.fill(0, offset, offset + LANE_WORDS);
        return;
      case 'duplicate': {
        const original = mix32(guestSeed + page) & (ORIGINAL_COUNT - 1);
        fillMixed(words, offset, mix32(guestSeed ^ ~original), lane, model.compressible);
        return;
      }
      case 'shared': {
        const original = (mix32(sharedSeed + page) >>> 0) % imagePages;
        fillMixed(words, offset, mix32(sharedSeed ^ ~original), lane, SHARED_COMPRESSIBLE);
        return;
      }
      case 'unique':
        fillMixed(words, offset, mix32(guestSeed ^ Math.imul(page, GOLDEN)), lane, model.compressible);
        return;
    }
  }

  function fillPageAt(words: Uint32Array, offset: number, page: number): void {
    for (let lane = 0; lane < LANE_COUNT; lane++) fillLane(words, offset + lane * LANE_WORDS, page, lane);
  }

  return {
    pageClass: (page) => PAGE_CLASSES[classIndex(page)] as PageClass,
    fillPage: (words, page) => fillPageAt(words, 0, page),
    fillMemory(memory, fromPage, toPage) {
      const words = new Uint32Array(memory, fromPage * PAGE_BYTES, (toPage - fromPage) * PAGE_WORDS);
      for (let page = fromPage; page < toPage; page++) {
        if (classIndex(page) !== 0) fillPageAt(words, (page - fromPage) * PAGE_WORDS, page);
      }
    },
    bootLane: (page, vcpu, into) => fillLane(into, 0, page, vcpu),
  };
}

/**
 * Where the runs of zero, duplicate and shared pages end within a block, before its rotation. Each class
 * takes its share of what the classes before it left over, counted from the first block on, so that rounding
 * never adds up.
 */
function blockRuns(model: ContentModel, block: number, ends: Uint8Array): void {
  const shares = [model.zero, model.duplicate, model.shared] as const;
  let before = block * BLOCK_PAGES;
  let after = before + BLOCK_PAGES;
  let remainder = 1;
  let end = 0;
  for (let index = 0; index < shares.length; index++) {
    const share = shares[index] as number;
    const portion = remainder > 0 ? Math.min(1, share / remainder) : 0;
    const taken = Math.floor(before * portion);
    const takenAfter = Math.floor(after * portion);
    end += takenAfter - taken;
    ends[index] = end;
    before -= taken;
    after -= takenAfter;
    remainder -= share;
  }
}

/**
 * One lane of a page that is neither zero nor wholly random: the version 0, then random words (xorshift32,
 * Marsaglia 2003), then one word over and over, which is what a compressor takes away. Over the page's lanes
 * the random words are the incompressible share exactly.
 */
function fillMixed(
  words: Uint32Array,
  offset: number,
  pageWord: number,
  lane: number,
  compressible: number,
): void {
  const perLane = SLOT_COUNT * (1 - compressible);
  const randomCount = Math.floor((lane + 1) * perLane) - Math.floor(lane * perLane);
  const randomEnd = offset + 1 + randomCount;
  let state = mix32(pageWord + Math.imul(lane + 1, GOLDEN)) || 1;
  words[offset] = 0;
  for (let index = offset + 1; index < randomEnd; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  words.fill(pageWord, randomEnd, offset + LANE_WORDS);
}
