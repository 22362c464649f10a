/** LZ4's block format by lz4-napi, which puts the decoded size before it (u32, little-endian). */

import { WireCodec } from '../../migration/wire.ts';
import { lazily } from '../lazy-module.ts';
import type { Codec } from './codec.ts';

const library = lazily<typeof import('lz4-napi')>('lz4-napi');

const SIZE_BYTES = 4;

export const lz4: Codec = {
  wire: WireCodec.LZ4,
  encode: (bytes) => library().compressSync(asBuffer(bytes)),
  decode: (bytes, decodedBytes) => {
    // The library reserves what the size says before it reads on.
    if (bytes.byteLength < SIZE_BYTES || asBuffer(bytes).readUInt32LE(0) !== decodedBytes) {
      throw new Error('the size before the LZ4 block is not the announced one');
    }
    return library().uncompressSync(bytes);
  },
};

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
