/** The codecs by name, as specs and reports have them, and what decodes each codec of the wire. */

import type { CodecName } from '../../../proto/transforms.ts';
import { WireCodec } from '../../migration/wire.ts';
import type { CodecChoice } from '../codec-chooser.ts';
import type { Coded } from '../codec-messages.ts';
import { costOf } from '../transform-measure.ts';
import type { Codec } from './codec.ts';
import { deflate } from './deflate.ts';
import { fflate } from './fflate.ts';
import { lz4 } from './lz4.ts';
import { snappy } from './snappy.ts';
import { zstd } from './zstd.ts';

export const CODECS: Readonly<Record<CodecName, Codec>> = { fflate, deflate, zstd, lz4, snappy };

const DECODERS: Readonly<Record<Exclude<WireCodec, typeof WireCodec.NONE>, Codec>> = {
  [WireCodec.DEFLATE]: deflate,
  [WireCodec.ZSTD]: zstd,
  [WireCodec.LZ4]: lz4,
  [WireCodec.SNAPPY]: snappy,
};

/** What a payload was before it was compressed. @throws for what is damaged, or not of this size */
export function decodePayload(codec: WireCodec, payload: Uint8Array, decodedBytes: number): Uint8Array {
  if (codec === WireCodec.NONE) return payload;
  const decoded = DECODERS[codec].decode(payload, decodedBytes);
  if (decoded.byteLength === decodedBytes) return decoded;
  throw new Error(`${decoded.byteLength} bytes came out; announced were ${decodedBytes}`);
}

/** Compresses a batch on this thread. */
export function codeWith({ codec, level }: CodecChoice, bytes: Uint8Array): Coded {
  if (codec === 'none')
    return { codedBytes: bytes.byteLength, coded: undefined, cost: { cpuS: 0, timeMs: 0 } };
  const { result, cost } = costOf(() => CODECS[codec].encode(bytes, level));
  const isLess = result.byteLength < bytes.byteLength;
  return { codedBytes: result.byteLength, coded: isLess ? result : undefined, cost };
}
