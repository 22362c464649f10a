/**
 * What each codec makes of guest pages on this machine: batches of 256 KiB as a migration codes them, one thread, no
 * link. The content is that of guests (workloads/content.ts).
 */

import type { CodecChoice } from '../hosts/transform/codec-chooser.ts';
import { costOfCodec } from '../hosts/transform/codec-cost.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { CODEC_LEVELS, CODEC_NAMES } from '../proto/transforms.ts';
import { createContent } from '../workloads/content.ts';

const BATCH_PAGES = 64;
const BATCH_COUNT = 8;
const SEED = 1n;
const NS_PER_S = 1e9;
/** Of a codec's levels those that say how it trades time for size. */
const LEVELS = { zstd: [-5, 1, 3, 6], deflate: [1, 6], fflate: [1] } as const;

export interface CodecRow {
  readonly codec: string;
  /** null where the codec has none. */
  readonly level: number | null;
  /** Bytes that are left of each byte. */
  readonly ratio: number;
  readonly compressBytesPerS: number;
  readonly decompressBytesPerS: number;
}

/** The codecs at their levels, in the order of specs. */
export function codecChoices(): CodecChoice[] {
  return CODEC_NAMES.flatMap((codec): CodecChoice[] => {
    if (CODEC_LEVELS[codec] === undefined) return [{ codec, level: 0 }];
    return LEVELS[codec as keyof typeof LEVELS].map((level) => ({ codec, level }));
  });
}

/** Measures one codec. @param compressible the share of each page that a compressor can take away */
export function benchCodec(choice: CodecChoice, compressible: number): CodecRow {
  const model = { zero: 0, duplicate: 0, shared: 0, compressible };
  const memory = new SharedArrayBuffer(BATCH_COUNT * BATCH_PAGES * PAGE_BYTES);
  createContent(model, SEED).fillMemory(memory, 0, BATCH_COUNT * BATCH_PAGES);
  const costs = Array.from({ length: BATCH_COUNT }, (_, batch) => {
    const start = batch * BATCH_PAGES * PAGE_BYTES;
    return costOfCodec(choice, new Uint8Array(memory, start, BATCH_PAGES * PAGE_BYTES));
  });
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number;
  return {
    codec: choice.codec,
    level: choice.level === 0 ? null : choice.level,
    ratio: median(costs.map(({ ratio }) => ratio)),
    compressBytesPerS: NS_PER_S / median(costs.map(({ encodeNsPerByte }) => encodeNsPerByte)),
    decompressBytesPerS: NS_PER_S / median(costs.map(({ decodeNsPerByte }) => decodeNsPerByte)),
  };
}
