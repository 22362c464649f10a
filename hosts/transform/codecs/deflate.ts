/** Deflate by node:zlib (RFC 1951, without a head: a frame has its own). */

import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { WireCodec } from '../../migration/wire.ts';
import type { Codec } from './codec.ts';

export const deflate: Codec = {
  wire: WireCodec.DEFLATE,
  encode: (bytes, level) => deflateRawSync(bytes, { level }),
  decode: (bytes, decodedBytes) => inflateRawSync(bytes, { maxOutputLength: decodedBytes }),
};
