/**
 * Goal: whatever pages are sent, and whatever is done to them on their way, exactly these arrive. Method: the sending
 * and the receiving side over real sockets, memory against memory, round after round: what any transform must pass.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Compression, type Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { CODEC_NAMES, compressionOf } from '../../proto/transforms.ts';
import { PagePath } from '../support/page-path.ts';

const PAGE_COUNT = 600;

const SUBJECTS: [string, Partial<Transforms>][] = [
  ['zero', {}],
  ['nothing at all', { zero: false }],
  ...CODEC_NAMES.map((name): [string, Partial<Transforms>] => [
    name,
    { compression: compressionOf(name), compressionThreads: 0 },
  ]),
  ['adaptive compression', { compression: Compression.COMPRESSION_ADAPTIVE, compressionThreads: 0 }],
  ['codec threads', { compression: Compression.COMPRESSION_ZSTD, compressionThreads: 2 }],
];

/** What a round writes into pages: zeroes, one byte all over, a few words, noise, or another page's content. */
const change = fc.record({
  firstPage: fc.nat(PAGE_COUNT - 1),
  pageCount: fc.integer({ min: 1, max: 150 }),
  what: fc.constantFrom('zero', 'fill', 'words', 'noise', 'copy'),
  value: fc.integer({ min: 1, max: 255 }),
  stride: fc.integer({ min: 1, max: 5 }),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function apply(memory: Buffer, { firstPage, pageCount, what, value, stride }: Change): number[] {
  const written: number[] = [];
  let noise = value;
  for (let page = firstPage; page < Math.min(firstPage + pageCount, PAGE_COUNT); page += stride) {
    const bytes = memory.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    if (what === 'zero') bytes.fill(0);
    else if (what === 'fill') bytes.fill(value);
    else if (what === 'words') bytes.writeUInt32LE(value * page, (value * 16) % PAGE_BYTES);
    else if (what === 'copy') bytes.set(memory.subarray(value * PAGE_BYTES, (value + 1) * PAGE_BYTES));
    else {
      for (let word = 0; word < PAGE_BYTES; word += 4) {
        noise = (Math.imul(noise, 1_664_525) + 1_013_904_223) >>> 0;
        bytes.writeUInt32LE(noise, word);
      }
    }
    written.push(page);
  }
  return written;
}

describe.each(SUBJECTS)('with %s', (_, transforms) => {
  test('pages arrive as they were sent, round after round', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(0, 0, 100_000_000),
        fc.array(fc.array(change, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
        async (channelCount, bytesPerS, rounds) => {
          const path = await PagePath.make({ channelCount, bytesPerS, pageCount: PAGE_COUNT, transforms });
          try {
            const memory = Buffer.from(path.source.buffer);
            for (const changes of rounds) {
              const pages = new Set(changes.flatMap((one) => apply(memory, one)));
              await path.send([...pages].sort((left, right) => left - right));
              expect(Buffer.compare(path.destination, path.source)).toBe(0);
            }
          } finally {
            await path.close();
          }
        },
      ),
      { numRuns: 12 },
    );
  });
});

test('pages that compress cost less on the wire, and those that do not cost no more than before', async () => {
  const pages = Array.from({ length: PAGE_COUNT }, (_, page) => page);
  const [text, noise] = await Promise.all(
    (['words', 'noise'] as const).map(async (what) => {
      const transforms = { compression: Compression.COMPRESSION_LZ4 };
      const path = await PagePath.make({ pageCount: PAGE_COUNT, transforms });
      apply(Buffer.from(path.source.buffer), {
        firstPage: 0,
        pageCount: PAGE_COUNT,
        what,
        value: 9,
        stride: 1,
      });
      await path.send(pages);
      await path.close();
      return { bytes: path.sentBytes, reports: path.reports };
    }),
  );
  const plainBytes = PAGE_COUNT * PAGE_BYTES;
  expect(text!.bytes).toBeLessThan(plainBytes / 20);
  expect(noise!.bytes).toBeLessThan(plainBytes * 1.001);
  const [, coded] = text!.reports.source;
  expect(coded).toMatchObject({
    name: 'compression',
    variant: 'lz4',
    bytesIn: BigInt(plainBytes - PAGE_BYTES),
  });
  expect(text!.reports.destination[0]).toMatchObject({ bytesOut: coded!.bytesIn, bytesIn: coded!.bytesOut });
  expect(noise!.reports.source[1]).toMatchObject({ overflows: BigInt(PAGE_COUNT), hits: 0n });
});
