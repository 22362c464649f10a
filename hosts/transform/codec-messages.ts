/** What a migration's mover and its codec threads say to each other. Types only: one per direction. */

import type { CodecChoice } from './codec-chooser.ts';
import type { Cost } from './transform-measure.ts';

/** To a codec thread: a batch, in shared memory. */
export interface CodecJob {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly choice: CodecChoice;
}

/** A batch that was coded. */
export interface Coded {
  readonly codedBytes: number;
  /** Undefined when it did not shrink. */
  readonly coded: Uint8Array | undefined;
  readonly cost: Cost;
}

/** From a codec thread: it is ready for jobs, or has done one; `coded` is the receiver's own. */
export type FromCodecThread =
  | { readonly type: 'ready' }
  | ({ readonly type: 'coded'; readonly id: number } & Coded);
