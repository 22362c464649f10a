/** That the check of a lane finds each sort of fault, by planting one. */

import { beforeEach, describe, expect, it } from 'vitest';
import { GUEST_LIMITS } from '../../../proto/guest-spec.ts';
import { PAGE_WORDS } from '../../../proto/page.ts';
import { createContent } from '../../../workloads/content.ts';
import {
  checkLane,
  foreignPage,
  LANE_COUNT,
  LANE_WORDS,
  laneOffsetWords,
  SLOT_COUNT,
  slotOf,
  stamp,
  stampSeedWord,
  writeStamp,
} from '../../../workloads/stamp.ts';

const PAGES = 32;
const PAGE = 9;
const VCPU = 2;
const seed = 11n;
const stampSeed = stampSeedWord(seed);
const content = createContent({ zero: 0, duplicate: 0, shared: 0, compressible: 0.5 }, seed);
const bootLane = new Uint32Array(LANE_WORDS);
content.bootLane(PAGE, VCPU, bootLane);
let words: Int32Array;

function write(page: number, count: number): void {
  for (let version = 0; version < count; version++) writeStamp(words, stampSeed, page, VCPU);
}

function check(expectedVersion: number) {
  return checkLane(words, stampSeed, PAGE, VCPU, expectedVersion, bootLane);
}

function pageWords(page: number): Int32Array {
  return words.subarray(page * PAGE_WORDS, (page + 1) * PAGE_WORDS);
}

function foreign() {
  return foreignPage(words, stampSeed, PAGE, PAGES, content.bootLane);
}

beforeEach(() => {
  const memory = new SharedArrayBuffer(PAGES * PAGE_WORDS * 4);
  content.fillMemory(memory, 0, PAGES);
  words = new Int32Array(memory);
});

it.each([0, 1, 126, 127, 128, 300])('finds nothing wrong after %d writes', (count) => {
  write(PAGE, count);
  expect(check(count)).toBeUndefined();
  expect(foreign()).toBeUndefined();
});

it('finds a lost write: the version stands behind', () => {
  write(PAGE, 5);
  expect(check(6)).toEqual({
    kind: 'lost-write',
    detail: 'vCPU 2: version 5, expected 6; its slots agree with that version',
  });
  expect(foreign()).toBeUndefined();
});

it('finds a page that is ahead of what was counted', () => {
  write(PAGE, 5);
  expect(check(4)?.kind).toBe('lost-write');
});

it('finds a stale page: the content of an earlier round', () => {
  write(PAGE, 130);
  const stale = pageWords(PAGE).slice();
  write(PAGE, 10);
  pageWords(PAGE).set(stale);
  expect(check(140)).toEqual({
    kind: 'lost-write',
    detail: 'vCPU 2: version 130, expected 140; its slots agree with that version',
  });
});

it('finds a torn page: one slot of another version', () => {
  write(PAGE, 5);
  const slot = laneOffsetWords(PAGE, VCPU) + 3;
  words[slot] = stamp(stampSeed, PAGE, VCPU, 4);
  expect(check(5)?.kind).toBe('torn');
  expect(check(5)?.detail).toMatch(
    /^vCPU 2: version 5, expected 5; slot 3 holds 0x[0-9a-f]{8}, not 0x[0-9a-f]{8}$/,
  );
  expect(foreign()).toBeUndefined();
});

it('finds a torn page: boot content that nobody overwrote has changed', () => {
  write(PAGE, 5);
  const slot = laneOffsetWords(PAGE, VCPU) + 127;
  words[slot] = (words[slot] as number) ^ 1;
  expect(check(5)?.kind).toBe('torn');
});

describe('a swapped page', () => {
  it.each([
    [7, 7],
    [7, 200],
    [3, 0],
  ])('with %d writes that holds one with %d writes is found and named', (ownWrites, otherWrites) => {
    write(PAGE, ownWrites);
    write(20, otherWrites);
    pageWords(PAGE).set(pageWords(20));
    expect(check(ownWrites)).toBeDefined();
    expect(foreign()).toBe(20);
  });

  it('of zeroes could be any, so none is named', () => {
    write(PAGE, 2);
    pageWords(PAGE).fill(0);
    expect(check(2)?.kind).toBe('lost-write');
    const othersBootEmpty = (page: number, vcpu: number, into: Uint32Array) => {
      if (page === PAGE) content.bootLane(page, vcpu, into);
      else into.fill(0);
    };
    expect(foreignPage(words, stampSeed, PAGE, PAGES, othersBootEmpty)).toBeUndefined();
  });
});

it('stamps the slots in turn, and pages and versions differently', () => {
  expect([1, 127, 128, 254, 255].map(slotOf)).toEqual([1, SLOT_COUNT, 1, SLOT_COUNT, 1]);
  const stamps = new Set<number>();
  for (let page = 0; page < 50_000; page++) stamps.add(stamp(stampSeed, page, 0, 1));
  for (let version = 2; version <= 50_001; version++) stamps.add(stamp(stampSeed, 0, 0, version));
  // Pages never collide with each other, nor versions; a page with a version may, once in 2^32.
  expect(stamps.size).toBeGreaterThanOrEqual(99_998);
});

it('has a lane for each vCPU that a guest may have', () => {
  expect(GUEST_LIMITS.vcpuCountMax).toBeLessThanOrEqual(LANE_COUNT);
});

it('reads memory as signed or unsigned words alike', () => {
  write(PAGE, 140);
  expect(checkLane(new Uint32Array(words.buffer), stampSeed, PAGE, VCPU, 140, bootLane)).toBeUndefined();
});
