/**
 * What a page write stores, and how an audit knows that it is still there. A page has 8 lanes of 128 words,
 * one for each vCPU, so that vCPUs never race on a word and a store needs no atomic operation. Word 0 of a
 * lane counts the vCPU's writes to the page (its version, 0 at boot); words 1 to 127 are slots, written one
 * after the other. So a lane's content follows from (seed, page, vCPU, version) and the boot content: the
 * last 127 writes are in the slots, and a slot that was never written holds what it held at boot.
 *
 * A version is a uint32: a lane is auditable for its first 2^32 - 1 writes, more than a month at 1000 writes
 * a second to one page.
 */

import { PAGE_WORDS } from '../proto/page.ts';
import { GOLDEN, seedWord } from './hash.ts';

/** Lanes of a page: the most vCPUs that a guest can have. */
export const LANE_COUNT = 8;
export const LANE_WORDS = PAGE_WORDS / LANE_COUNT;
/** The slots of a lane: all its words but the version. */
export const SLOT_COUNT = LANE_WORDS - 1;

const STAMP_PURPOSE = 1;

/** Words of guest memory. Writers use Int32Array: V8 handles its elements without conversion. */
export type MemoryWords = Int32Array | Uint32Array;

/** The word that `stamp` starts from, for a guest's seed. */
export function stampSeedWord(seed: bigint): number {
  return seedWord(seed, STAMP_PURPOSE);
}

/**
 * The word that write number `version` (from 1) of a vCPU to a page stores. Signed. For the same seed, vCPU
 * and version, different pages always have different stamps; so have different versions of the same page and
 * vCPU.
 */
export function stamp(stampSeed: number, page: number, vcpu: number, version: number): number {
  let word = Math.imul(stampSeed ^ Math.imul(page, GOLDEN), 0x85ebca6b);
  word ^= word >>> 15;
  word = Math.imul(word ^ (Math.imul(version, 0xc2b2ae3d) + vcpu), 0x27d4eb2f);
  return word ^ (word >>> 13);
}

/** Where a vCPU's lane of a page begins, in words from the start of guest memory. */
export function laneOffsetWords(page: number, vcpu: number): number {
  return page * PAGE_WORDS + vcpu * LANE_WORDS;
}

/** The word of a lane, from 1 to 127, that write number `version` (from 1) stores to. */
export function slotOf(version: number): number {
  return 1 + ((version - 1) % SLOT_COUNT);
}

/**
 * One page write: the slot first, then the version. Answers the new version. This is the whole of what a
 * vCPU does to guest memory; dirty tracking and counting of writes are the caller's.
 */
export function writeStamp(words: Int32Array, stampSeed: number, page: number, vcpu: number): number {
  const lane = laneOffsetWords(page, vcpu);
  const version = ((words[lane] as number) + 1) >>> 0;
  words[lane + slotOf(version)] = stamp(stampSeed, page, vcpu, version);
  words[lane] = version;
  return version;
}

/** What is wrong with a lane. `detail` is a sentence for people. */
export interface LaneFault {
  readonly kind: 'lost-write' | 'torn';
  readonly detail: string;
}

/**
 * Holds a lane of a page against what its vCPU must have left there. The guest stands still.
 *
 * @param words guest memory, or anything laid out like it
 * @param expectedVersion how many writes the vCPU made to the page since boot
 * @param bootLane the lane's 128 words at boot (content.ts)
 * @returns `lost-write` when the version is not the expected one, `torn` when it is and a slot does not
 *   belong to it, undefined when all is right
 */
export function checkLane(
  words: MemoryWords,
  stampSeed: number,
  page: number,
  vcpu: number,
  expectedVersion: number,
  bootLane: Uint32Array,
): LaneFault | undefined {
  const lane = laneOffsetWords(page, vcpu);
  const version = (words[lane] as number) >>> 0;
  const slot = firstWrongSlot(words, lane, stampSeed, page, vcpu, bootLane);
  if (version === expectedVersion && slot === undefined) return undefined;
  let slots = 'its slots agree with that version';
  if (slot !== undefined) {
    const found = hex(words[lane + slot] as number);
    const due = hex(slotContent(stampSeed, page, vcpu, version, slot, bootLane));
    slots = `slot ${slot} holds ${found}, not ${due}`;
  }
  const kind = version === expectedVersion ? 'torn' : 'lost-write';
  return { kind, detail: `vCPU ${vcpu}: version ${version}, expected ${expectedVersion}; ${slots}` };
}

/**
 * Which other page's content a faulty page holds (swapped, or placed wrongly): the first page whose stamps
 * and boot content agree with every lane at the versions found. Undefined if there is none; if the page
 * holds its own content, of whatever version; or if it holds only zeroes, which say nothing about where they
 * came from. Tries every page, so it is for a page that is known to be faulty.
 *
 * @param fillBootLane fills in the 128 words that a page's lane held at boot (content.ts)
 */
export function foreignPage(
  words: MemoryWords,
  stampSeed: number,
  page: number,
  pageCount: number,
  fillBootLane: FillBootLane,
): number | undefined {
  const start = laneOffsetWords(page, 0);
  if (words.subarray(start, start + PAGE_WORDS).every((word) => word === 0)) return undefined;
  const bootLane = new Uint32Array(LANE_WORDS);
  if (holdsPage(words, start, stampSeed, page, bootLane, fillBootLane)) return undefined;
  for (let other = 0; other < pageCount; other++) {
    if (holdsPage(words, start, stampSeed, other, bootLane, fillBootLane)) return other;
  }
  return undefined;
}

type FillBootLane = (page: number, vcpu: number, into: Uint32Array) => void;

/** Whether the page at `start` is one that `page` can have been, at the versions found in its lanes. */
function holdsPage(
  words: MemoryWords,
  start: number,
  stampSeed: number,
  page: number,
  bootLane: Uint32Array,
  fillBootLane: FillBootLane,
): boolean {
  for (let vcpu = 0; vcpu < LANE_COUNT; vcpu++) {
    const lane = start + vcpu * LANE_WORDS;
    const version = (words[lane] as number) >>> 0;
    // The last stamp alone rules out nearly every page, before the slower boot content is needed.
    if (version > 0) {
      const last = (words[lane + slotOf(version)] as number) | 0;
      if (last !== stamp(stampSeed, page, vcpu, version)) return false;
    }
    fillBootLane(page, vcpu, bootLane);
    if (firstWrongSlot(words, lane, stampSeed, page, vcpu, bootLane) !== undefined) return false;
  }
  return true;
}

/**
 * The first slot of the lane at `lane` that does not hold what `page` must hold at the version found there.
 */
function firstWrongSlot(
  words: MemoryWords,
  lane: number,
  stampSeed: number,
  page: number,
  vcpu: number,
  bootLane: Uint32Array,
): number | undefined {
  const version = (words[lane] as number) >>> 0;
  for (let slot = 1; slot < LANE_WORDS; slot++) {
    const due = slotContent(stampSeed, page, vcpu, version, slot, bootLane);
    if (((words[lane + slot] as number) | 0) !== due) return slot;
  }
  return undefined;
}

/** What a slot holds after `version` writes. Signed. */
function slotContent(
  stampSeed: number,
  page: number,
  vcpu: number,
  version: number,
  slot: number,
  bootLane: Uint32Array,
): number {
  if (version < slot) return (bootLane[slot] as number) | 0;
  // The newest write to this slot: the last version that is `slot` modulo 127.
  const newest = version - ((version - slot) % SLOT_COUNT);
  return stamp(stampSeed, page, vcpu, newest);
}

function hex(word: number): string {
  return `0x${(word >>> 0).toString(16).padStart(8, '0')}`;
}
