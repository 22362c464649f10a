/**
 * Goal: whatever is done to its pages on their way, a guest arrives whole. Method: both ends of real migrations in one
 * process, of a guest that writes all the while, by each technique with each transform; every page is proven.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { Compression, DedupScope, type Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { TECHNIQUES } from '../../proto/names.ts';
import { compressionOf, DEFAULT_TRANSFORMS } from '../../proto/transforms.ts';
import { type Ends, EnginePair, guestSpec, optionsOf } from './engine-pair.ts';

let pair: EnginePair | undefined;

afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

/** Moves a guest of 4 MiB that writes 20,000 pages a second, and proves it. */
async function move(technique: string, changes: Partial<Transforms>): Promise<Ends> {
  const transforms = { ...DEFAULT_TRANSFORMS, ...changes };
  pair = await EnginePair.create(
    guestSpec('hot-cold', 20_000, 2),
    optionsOf(technique, { transforms, channels: 2 }),
  );
  await pair.begin();
  const ends = await pair.ends();
  expect(ends.outcome.reason).toBe('');
  const { faults } = await pair.destination.audit();
  expect(faults).toEqual([]);
  return ends;
}

// Every codec passes the suite of page-transforms.test.ts; here a pure one and a native one.
const withCodec = (['fflate', 'lz4'] as const).map((name): [string, Partial<Transforms>] => [
  name,
  { compression: compressionOf(name), compressionThreads: 0 },
]);
const DEDUP_DELTA_LZ4 = {
  dedup: DedupScope.DEDUP_SCOPE_GUEST,
  deltaCacheBytes: 2n ** 22n,
  compression: Compression.COMPRESSION_LZ4,
};
const MATRIX: [string, Partial<Transforms>][] = [
  ['no zero', { zero: false }],
  ...withCodec,
  ['adaptive', { compression: Compression.COMPRESSION_ADAPTIVE, compressionThreads: 0 }],
  ['dedup', { dedup: DedupScope.DEDUP_SCOPE_GUEST }],
  ['delta', { deltaCacheBytes: 2n ** 20n }],
  ['dedup without zero', { zero: false, dedup: DedupScope.DEDUP_SCOPE_GUEST }],
  ['dedup, delta and lz4', DEDUP_DELTA_LZ4],
  ['zstd in threads', { compression: Compression.COMPRESSION_ZSTD, compressionThreads: 2 }],
];

describe.each(TECHNIQUES)('a guest that moves by %s', (technique) => {
  test.each(MATRIX)('is whole with %s', async (_, changes) => {
    const { outcome, result } = await move(technique, changes);
    const reports = outcome.report?.transforms ?? [];
    const zero = reports.find(({ name }) => name === 'zero');
    expect(zero === undefined).toBe(changes.zero === false);
    const compression = reports.find(({ name }) => name === 'compression');
    expect(compression === undefined).toBe(changes.compression === undefined);
    if (compression === undefined) return;
    // Over a loopback that nothing limits no codec may be worth its time.
    const isAdaptive = changes.compression === Compression.COMPRESSION_ADAPTIVE;
    if (!isAdaptive) expect(compression.bytesOut).toBeLessThan(compression.bytesIn);
    const undone = result.report.transforms.find(({ name }) => name === 'compression');
    expect(undone?.pagesIn ?? 0n).toBeLessThanOrEqual(compression.pagesIn);
  });
});

test('adaptive compression compresses what a slow link takes long for', async () => {
  const transforms = { ...DEFAULT_TRANSFORMS, compression: Compression.COMPRESSION_ADAPTIVE };
  const options = optionsOf('pre-copy', { transforms, maxBandwidthBytesPerS: 1_000_000 });
  pair = await EnginePair.create(guestSpec('hot-cold', 100), options);
  await pair.begin();
  const { outcome } = await pair.ends();
  expect(outcome.reason).toBe('');
  const compression = outcome.report?.transforms.find(({ name }) => name === 'compression');
  expect(compression?.hits).toBeGreaterThan(0n);
  expect(compression?.bytesOut).toBeLessThan(compression?.bytesIn ?? 0n);
});
