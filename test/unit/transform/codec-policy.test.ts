/**
 * Goal: adaptive compression is at most 3 % slower than the best fixed choice, whichever that is. In virtual time.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CodecCost, CodecPolicy } from '../../../hosts/transform/codec-policy.ts';
import { type CodedPath, simulate, simulateFixed } from '../../support/coded-path.ts';

const MEBIBYTE = 1024 * 1024;
const BYTES_PER_S_PER_MBIT = 125_000;
/** More than memory can be copied at. */
const UNSHAPED_MBIT = 40_000;
/** What is sent uncoded over a slow link before anything is known. */
const FINDING_OUT_MS = 800;

/** As `godwit bench codecs` measures them. */
const CODECS: readonly CodecCost[] = [
  { ratio: 0.64, encodeNsPerByte: 1.2, decodeNsPerByte: 0.8 },
  { ratio: 0.67, encodeNsPerByte: 1.6, decodeNsPerByte: 0.9 },
  { ratio: 0.63, encodeNsPerByte: 1.3, decodeNsPerByte: 0.8 },
  { ratio: 0.628, encodeNsPerByte: 7, decodeNsPerByte: 0.8 },
  { ratio: 0.633, encodeNsPerByte: 25, decodeNsPerByte: 4 },
];

const path = (mbit: number, changes: Partial<CodedPath> = {}): CodedPath => ({
  codecs: CODECS,
  rate: () => mbit * BYTES_PER_S_PER_MBIT,
  cores: 2,
  coders: 1,
  bufferBytes: 3 * MEBIBYTE,
  pageBytes: pageBytesOf(mbit),
  ...changes,
});

/** So much that finding out is not most of it. */
function pageBytesOf(mbit: number): number {
  return (mbit <= 100 ? 128 : 1024) * MEBIBYTE;
}

/** How long it takes with the policy, and with the best choice from beginning to end. */
function times(coded: CodedPath): { readonly adaptiveMs: number; readonly bestMs: number } {
  const fixed = [0, ...coded.codecs.map((_, index) => index + 1)].map((codec) => simulateFixed(coded, codec));
  const policy = new CodecPolicy(coded.codecs.length, coded.coders, coded.cores);
  return { adaptiveMs: simulate(coded, policy), bestMs: Math.min(...fixed) };
}

function toBest(coded: CodedPath): number {
  const { adaptiveMs, bestMs } = times(coded);
  return adaptiveMs / bestMs;
}

/** A link whose rate changes once. */
function changing(fromMbit: number, toMbit: number, atMs: number): CodedPath {
  return path(toMbit, {
    rate: (nowMs) => (nowMs < atMs ? fromMbit : toMbit) * BYTES_PER_S_PER_MBIT,
    nextChangeMs: (nowMs) => (nowMs < atMs ? atMs : Number.POSITIVE_INFINITY),
    pageBytes: 1024 * MEBIBYTE,
  });
}

for (const [name, mbit] of [
  ['100 Mbit/s', 100],
  ['1 Gbit/s', 1000],
  ['10 Gbit/s', 10_000],
  ['no limit', UNSHAPED_MBIT],
] as const) {
  for (const cores of [2, 8]) {
    for (const coders of [1, 2]) {
      test(`over a link of ${name} with ${cores} cores and ${coders} coders it loses at most 3 %`, () => {
        expect(toBest(path(mbit, { cores, coders }))).toBeLessThanOrEqual(1.03);
      });
    }
  }
}

for (const [from, to, atMs] of [
  [UNSHAPED_MBIT, 100, 200],
  [100, UNSHAPED_MBIT, 3000],
  [1000, 100, 2000],
  [100, 1000, 2000],
] as const) {
  test(`a link that changes from ${from} to ${to} Mbit/s in mid-flight costs at most 3 %`, () => {
    expect(toBest(changing(from, to, atMs))).toBeLessThanOrEqual(1.03);
  });
}

test('content that does not shrink goes uncoded wherever it costs anything to find that out', () => {
  const codecs = CODECS.map((cost) => ({ ...cost, ratio: 1 }));
  expect(toBest(path(UNSHAPED_MBIT, { codecs }))).toBeLessThanOrEqual(1.03);
  expect(toBest(path(100, { codecs }))).toBeLessThanOrEqual(1.03);
});

// No bound holds for every set of codecs: what is held here is how often it is far off, over the same sixty.
test('over random codecs and links it is near the best fixed choice at the median, and seldom far off', () => {
  const codec = fc.record({
    ratio: fc.double({ min: 0.1, max: 1, noNaN: true }),
    encodeNsPerByte: fc.double({ min: 0.3, max: 40, noNaN: true }),
    decodeNsPerByte: fc.double({ min: 0.2, max: 5, noNaN: true }),
  });
  const setting = fc.tuple(
    fc.array(codec, { minLength: 1, maxLength: 5 }),
    fc.constantFrom(100, 300, 1000, 3000, UNSHAPED_MBIT),
    fc.constantFrom(2, 8),
    fc.constantFrom(1, 2),
  );
  const settings = fc.sample(setting, { numRuns: 60, seed: 6 });
  const found = settings.map(([codecs, mbit, cores, coders]) => times(path(mbit, { codecs, cores, coders })));
  const ratios = found.map(({ adaptiveMs, bestMs }) => adaptiveMs / bestMs).toSorted((a, b) => a - b);
  expect(ratios[ratios.length / 2]).toBeLessThanOrEqual(1.05);
  const isFarOff = found.filter(({ adaptiveMs, bestMs }) => adaptiveMs > bestMs * 1.1 + FINDING_OUT_MS);
  expect(isFarOff.length).toBeLessThanOrEqual(2);
});

test('a destination that claims more than was sent is not believed', () => {
  const policy = new CodecPolicy(CODECS.length, 1, 2);
  policy.sampled(CODECS);
  const batch = { phase: policy.phase, pageBytes: MEBIBYTE, wireBytes: MEBIBYTE, isWaiting: true };
  for (let ms = 0; ms < 1000; ms += 10) {
    policy.sent({ ...batch, phase: policy.phase }, ms);
    policy.placed(1e12, ms);
  }
  expect(policy.isFull).toBe(false);
  for (let ms = 0; ms < 200; ms++) policy.sent({ ...batch, phase: policy.phase }, 1000 + ms);
  policy.begin(0);
  expect(policy.isFull).toBe(false);
});
