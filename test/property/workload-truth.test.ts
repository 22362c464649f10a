/**
 * Properties of the truth: whatever vCPUs write, the check agrees; whatever word then changes, it does not.
 */

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PAGE_WORDS } from '../../proto/page.ts';
import { createContent } from '../../workloads/content.ts';
import { checkLane, LANE_COUNT, LANE_WORDS, stampSeedWord, writeStamp } from '../../workloads/stamp.ts';

const PAGES = 4;
const seed = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const lane = { page: fc.nat(PAGES - 1), vcpu: fc.nat(LANE_COUNT - 1) };
const bursts = fc.array(fc.record({ ...lane, count: fc.integer({ min: 1, max: 400 }) }), { maxLength: 20 });

/** A memory after bursts of writes, and the number of the lanes that are not as they must be. */
function guestAfter(guestSeed: bigint, writes: readonly { page: number; vcpu: number; count: number }[]) {
  const content = createContent({ zero: 0.3, duplicate: 0.3, shared: 0.1, compressible: 0.4 }, guestSeed);
  const stampSeed = stampSeedWord(guestSeed);
  const memory = new SharedArrayBuffer(PAGES * PAGE_WORDS * 4);
  content.fillMemory(memory, 0, PAGES);
  const words = new Int32Array(memory);
  const versions = new Uint32Array(PAGES * LANE_COUNT);
  for (const { page, vcpu, count } of writes) {
    for (let write = 0; write < count; write++) writeStamp(words, stampSeed, page, vcpu);
    versions[page * LANE_COUNT + vcpu] = (versions[page * LANE_COUNT + vcpu] as number) + count;
  }
  const bootLane = new Uint32Array(LANE_WORDS);
  const faultyLanes = () =>
    [...versions.keys()].filter((index) => {
      const page = Math.floor(index / LANE_COUNT);
      const vcpu = index % LANE_COUNT;
      content.bootLane(page, vcpu, bootLane);
      return checkLane(words, stampSeed, page, vcpu, versions[index] as number, bootLane) !== undefined;
    });
  return { words, faultyLanes };
}

it('finds every lane right after any writes', () => {
  fc.assert(
    fc.property(seed, bursts, (guestSeed, writes) => {
      expect(guestAfter(guestSeed, writes).faultyLanes()).toEqual([]);
    }),
    { numRuns: 50 },
  );
});

it('finds the lane of any one word that changed by any one bit', () => {
  fc.assert(
    fc.property(seed, bursts, fc.nat(PAGES * PAGE_WORDS - 1), fc.nat(31), (guestSeed, writes, index, bit) => {
      const { words, faultyLanes } = guestAfter(guestSeed, writes);
      words[index] = (words[index] as number) ^ (1 << bit);
      expect(faultyLanes()).toEqual([Math.floor(index / LANE_WORDS)]);
    }),
    { numRuns: 100 },
  );
});
