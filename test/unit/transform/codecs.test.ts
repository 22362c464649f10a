/**
 * Goal: a codec gives back what it was given, and of what is damaged or lies never more than was announced. Method:
 * every codec and level both ways over arbitrary batches; damaged ones, and bombs.
 */

import { deflateRawSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { compressSync as snappySync } from 'snappy';
import { describe, expect, test } from 'vitest';
import { WIRE_LIMITS } from '../../../hosts/migration/limits.ts';
import { WireCodec } from '../../../hosts/migration/wire.ts';
import { CODECS, codeWith, decodePayload } from '../../../hosts/transform/codecs/registry.ts';
import { CODEC_LEVELS, CODEC_NAMES } from '../../../proto/transforms.ts';

/** Batches in shared memory, as the source has them: stretches of one byte, of repeated ones, and of any. */
const batch = fc
  .array(
    fc.oneof(
      fc
        .record({ length: fc.nat(3000), byte: fc.nat(255) })
        .map(({ length, byte }) => Buffer.alloc(length, byte)),
      fc
        .record({ some: fc.uint8Array({ minLength: 1, maxLength: 20 }), times: fc.nat(200) })
        .map(({ some, times }) => Buffer.alloc(some.byteLength * times, some)),
      fc.uint8Array({ maxLength: 1000 }),
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((parts) => {
    const joined = Buffer.concat(parts);
    const shared = Buffer.from(new SharedArrayBuffer(joined.byteLength + 1));
    shared.set(joined);
    shared[joined.byteLength] = 7;
    return shared;
  });

describe.each(CODEC_NAMES)('%s', (name) => {
  const { wire } = CODECS[name];
  const levels = CODEC_LEVELS[name];
  const choice = levels === undefined ? fc.constant(0) : fc.integer(levels).filter((level) => level !== 0);

  test('gives back every batch, at every level', () => {
    fc.assert(
      fc.property(batch, choice, (bytes, level) => {
        const coded = CODECS[name].encode(bytes, level);
        expect(bytes.equals(decodePayload(wire, coded, bytes.byteLength))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('says of what it cannot make smaller that it goes as it is', () => {
    const bytes = Buffer.from(Uint8Array.from({ length: 256 }, (_, index) => (index * 167) % 256));
    const { coded, codedBytes } = codeWith({ codec: name, level: levels?.default ?? 0 }, bytes);
    expect(codedBytes).toBeGreaterThanOrEqual(bytes.byteLength);
    expect(coded).toBeUndefined();
  });

  test('refuses what it did not make, or makes of it just as much as was announced', () => {
    fc.assert(
      fc.property(batch, fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, at, flip) => {
        const coded = Buffer.from(CODECS[name].encode(bytes, levels?.default ?? 0));
        const place = at % coded.byteLength;
        coded[place] = (coded[place] as number) ^ flip;
        let decodedBytes = bytes.byteLength;
        try {
          decodedBytes = decodePayload(wire, coded, bytes.byteLength).byteLength;
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
        expect(decodedBytes).toBe(bytes.byteLength);
      }),
      { numRuns: 100 },
    );
  });

  test('refuses a batch that is cut off, or smaller than announced', () => {
    const bytes = Buffer.alloc(10_000, 'godwit');
    const coded = CODECS[name].encode(bytes, levels?.default ?? 0);
    expect(() => decodePayload(wire, coded.subarray(0, -1), bytes.byteLength)).toThrow();
    expect(() => decodePayload(wire, coded, bytes.byteLength + 1)).toThrow();
    expect(() => decodePayload(wire, new Uint8Array(0), bytes.byteLength)).toThrow();
  });
});

describe('a bomb', () => {
  const bomb = Buffer.alloc(64 * 1024 * 1024);
  const { codedBytesMax } = WIRE_LIMITS;

  test.each([
    ['deflate', WireCodec.DEFLATE, deflateRawSync(bomb)],
    ['zstd', WireCodec.ZSTD, zstdCompressSync(bomb)],
    ['lz4', WireCodec.LZ4, compressSync(bomb)],
    ['snappy', WireCodec.SNAPPY, snappySync(bomb)],
  ])('of %s is refused at the announced size', (_, wire, coded) => {
    const before = process.memoryUsage();
    expect(() => decodePayload(wire, coded, codedBytesMax)).toThrow();
    const { arrayBuffers, external } = process.memoryUsage();
    // It has not been made in full, and thrown away.
    const more = Math.max(arrayBuffers - before.arrayBuffers, external - before.external);
    expect(more).toBeLessThan(bomb.byteLength / 4);
  });

  test.each([
    ['lz4', WireCodec.LZ4, compressSync(bomb), 0, 4],
    ['snappy', WireCodec.SNAPPY, snappySync(bomb), 0, 4],
  ])('of %s that announces less than it holds is refused', (_, wire, coded, start, end) => {
    const announced =
      wire === WireCodec.LZ4
        ? compressSync(Buffer.alloc(codedBytesMax))
        : snappySync(Buffer.alloc(codedBytesMax));
    const headBytes = wire === WireCodec.LZ4 ? end : 3;
    const rest = coded.subarray(wire === WireCodec.LZ4 ? end : 4);
    const lie = Buffer.concat([announced.subarray(start, headBytes), rest]);
    expect(() => decodePayload(wire, lie, codedBytesMax)).toThrow();
  });
});
