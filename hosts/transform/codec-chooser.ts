/** Which codec a batch is compressed by. Asked for each batch: a link may change, and so may what pages hold. */

import type { Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { CODEC_LEVELS, type CodecName, compressionName } from '../../proto/transforms.ts';
import type { Cost } from './transform-measure.ts';

export interface CodecChoice {
  readonly codec: CodecName | 'none';
  /** One of the codec's levels; 0 where it has none. */
  readonly level: number;
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
  /** For the next batch. */
  next(): CodecChoice;
  /** A batch was coded, by whichever thread. */
  coded(outcome: CodingOutcome): void;
}

/** The chooser of transforms that ask for one codec; undefined when they do not. */
export function fixedChooser({ compression, compressionLevel }: Transforms): CodecChooser | undefined {
  const codec = compressionName(compression);
  if (codec === undefined || codec === 'none' || codec === 'adaptive') return undefined;
  const choice = { codec, level: compressionLevel || (CODEC_LEVELS[codec]?.default ?? 0) };
  return { next: () => choice, coded: () => {} };
}
