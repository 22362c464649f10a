/** Which codec a batch is compressed by. Asked for each batch: a link may change, and so may what pages hold. */

import type { Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { CODEC_LEVELS, type CodecName, compressionName } from '../../proto/transforms.ts';
import type { Cost } from './transform-measure.ts';

export interface CodecChoice {
  readonly codec: CodecName | 'none';
  /** One of the codec's levels; 0 where it has none. */
  readonly level: number;
}

/** What is known of a channel's link when a batch is to be coded. */
export interface LinkView {
  readonly nowMs: number;
  /** Bytes given to the channel's socket since its beginning, and of these those that the system has taken. */
  readonly sentBytes: number;
  readonly writtenBytes: number;
}

/** What became of a batch. */
export interface CodingOutcome {
  readonly choice: CodecChoice;
  readonly decodedBytes: number;
  /** By the codec, also when the batch then went as it was since it did not shrink. */
  readonly codedBytes: number;
  readonly cost: Cost;
}

export interface CodecChooser {
  /** For the next batch. @param decodedBytes its size */
  next(decodedBytes: number, link: LinkView): CodecChoice;
  /** A batch was coded, by whichever thread. */
  coded(outcome: CodingOutcome): void;
}

/** The chooser that the transforms ask for; undefined when nothing is to be compressed. */
export function codecChooser({ compression, compressionLevel }: Transforms): CodecChooser | undefined {
  const name = compressionName(compression);
  if (name === undefined || name === 'none') return undefined;
  // The choice for adaptive is codec-policy's.
  const codec = name === 'adaptive' ? 'lz4' : name;
  const choice = { codec, level: compressionLevel || (CODEC_LEVELS[codec]?.default ?? 0) };
  return { next: () => choice, coded: () => {} };
}
