/**
 * Deflate in pure JavaScript (fflate): the portable baseline, which needs no native code to send. What it makes is
 * decoded as any deflate.
 */

import { WireCodec } from '../../migration/wire.ts';
import { lazily } from '../lazy-module.ts';
import type { Codec } from './codec.ts';
import { deflate } from './deflate.ts';

const library = lazily<typeof import('fflate')>('fflate');

export const fflate: Codec = {
  wire: WireCodec.DEFLATE,
  encode: (bytes, level) =>
    library().deflateSync(bytes, { level: level as 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 }),
  decode: (bytes, decodedBytes) => deflate.decode(bytes, decodedBytes),
};
