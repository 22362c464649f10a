/** Zstandard by node:zlib (RFC 8878). Levels under 0 are its fast ones. */

import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { WireCodec } from '../../migration/wire.ts';
import type { Codec } from './codec.ts';

const { ZSTD_c_compressionLevel, ZSTD_d_windowLogMax } = constants;

/** A batch has 2^18 bytes: a frame that asks for more memory than four of them is no batch of ours. */
const WINDOW_LOG_MAX = 20;

export const zstd: Codec = {
  wire: WireCodec.ZSTD,
  encode: (bytes, level) => zstdCompressSync(bytes, { params: { [ZSTD_c_compressionLevel]: level } }),
  decode: (bytes, decodedBytes) =>
    zstdDecompressSync(bytes, {
      maxOutputLength: decodedBytes,
      params: { [ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
    }),
};
