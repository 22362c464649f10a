/** Snappy's raw format by snappy (Rust), which begins with the decoded size as a varint. */

import { WireCodec } from '../../migration/wire.ts';
import { lazily } from '../lazy-module.ts';
import type { Codec } from './codec.ts';

const library = lazily<typeof import('snappy')>('snappy');

/** A size of 32 bits has at most so many groups of 7. */
const VARINT_BYTES_MAX = 5;

export const snappy: Codec = {
  wire: WireCodec.SNAPPY,
  encode: (bytes) => library().compressSync(bytes),
  decode: (bytes, decodedBytes) => {
    // The library reserves what the size says before it reads on.
    if (announcedBytes(bytes) !== decodedBytes) {
      throw new Error('the size before the Snappy block is not the announced one');
    }
    return library().uncompressSync(bytes, { asBuffer: true }) as Buffer;
  },
};

function announcedBytes(bytes: Uint8Array): number {
  let size = 0;
  for (let index = 0; index < VARINT_BYTES_MAX; index++) {
    const byte = bytes[index] ?? 0;
    size += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) break;
  }
  return size;
}
