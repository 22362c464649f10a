/**
 * Adaptive compression in a migration: tells the policy (codec-policy.ts) what it wants to know, and turns what it
 * chooses into codecs and levels.
 */

import { availableParallelism } from 'node:os';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import type { Silence } from '../migration/silence.ts';
import type { CodecChoice, CodecChooser, CodingOutcome } from './codec-chooser.ts';
import { costOfCodec } from './codec-cost.ts';
import { type CodecCost, CodecPolicy } from './codec-policy.ts';

const NS_PER_MS = 1e6;
/** Enough for the rate to be that of a batch. */
const SAMPLE_BYTES_MAX = 8 * PAGE_BYTES;
const SAMPLE_INTERVAL_MS = 500;
/** A sample lies in the processor's cache, a batch comes from memory and takes so much longer (docs/performance.md). */
const OUT_OF_CACHE = 1.5;
/** The first time a codec runs it is slower than later. */
const SECOND_SAMPLE_MS = 50;

const NONE: CodecChoice = { codec: 'none', level: 0 };

/**
 * What there is to choose from besides none. The first one is for what is sent before anything is known. Not deflate:
 * zstd makes no more of anything, in a tenth of the time.
 */
const CANDIDATES: readonly CodecChoice[] = [
  { codec: 'lz4', level: 0 },
  { codec: 'snappy', level: 0 },
  { codec: 'zstd', level: -5 },
  { codec: 'zstd', level: 1 },
  { codec: 'zstd', level: 3 },
];

/** A batch that was given to a socket. */
export interface SentBatch {
  /** What `phase` was when it was chosen for. */
  readonly phase: number;
  readonly pageBytes: number;
  readonly wireBytes: number;
  /** Whether the socket had not taken the one before it yet. */
  readonly isWaiting: boolean;
}

export class AdaptiveChooser implements CodecChooser {
  readonly #policy: CodecPolicy;
  readonly #silence: Silence;
  #sampleDueAtMs = 0;
  #sampleCount = 0;
  #wake: () => void = () => {};

  /**
   * @param threadCount threads that code besides the mover
   * @param silence of the destination
   */
  constructor(threadCount: number, silence: Silence) {
    this.#silence = silence;
    this.#policy = new CodecPolicy(CANDIDATES.length, threadCount, availableParallelism());
  }

  next(): CodecChoice {
    return CANDIDATES[this.#policy.codec - 1] ?? NONE;
  }

  /** Whether what is chosen is worth threads that do it. */
  get isHeavy(): boolean {
    return this.#policy.isCodingHeavy;
  }

  /** What is chosen for between two changes of the choice. */
  get phase(): number {
    return this.#policy.phase;
  }

  /** Whether pages may go as they are without becoming batches: nothing is to be coded, and nothing to be measured. */
  get isRaw(): boolean {
    return this.#policy.codec === 0 && nowMs() < this.#sampleDueAtMs;
  }

  /** A round begins, and everything before it is in place. @param limitBytesPerS 0 for unlimited */
  roundBegins(limitBytesPerS: number): void {
    this.#policy.begin(limitBytesPerS);
    this.#wake();
  }

  /** From now on no more than this is sent. @param bytesPerS 0 for unlimited */
  limited(bytesPerS: number): void {
    this.#policy.limit(bytesPerS);
  }

  coded({ choice, decodedBytes, codedBytes, cost }: CodingOutcome): void {
    const codec = CANDIDATES.indexOf(choice) + 1;
    const encodeNsPerByte = (cost.timeMs * NS_PER_MS) / decodedBytes;
    this.#policy.coded(codec, Math.min(1, codedBytes / decodedBytes), encodeNsPerByte, nowMs());
  }

  sent(batch: SentBatch): void {
    this.#policy.sent(batch, nowMs());
  }

  /** Whether so much is on its way that the next batch is to wait. */
  get isFull(): boolean {
    return this.#policy.isFull;
  }

  /** Until something has arrived. @throws when the destination is silent for too long */
  async arrival(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await this.#silence.during('word of what has arrived', promise);
  }

  /** The destination has placed so much more of what was sent. */
  placed(wireBytes: number): void {
    this.#policy.placed(wireBytes, nowMs());
    this.#wake();
  }

  /** Measures all codecs on a part of a batch, when it is time to: here, since threads may not have started. */
  sample(batch: Uint8Array): void {
    const atMs = nowMs();
    if (atMs < this.#sampleDueAtMs) return;
    this.#sampleDueAtMs = atMs + (this.#sampleCount++ === 0 ? SECOND_SAMPLE_MS : SAMPLE_INTERVAL_MS);
    const bytes = batch.subarray(0, SAMPLE_BYTES_MAX);
    this.#policy.sampled(CANDIDATES.map((choice) => outOfCache(costOfCodec(choice, bytes))));
  }
}

function outOfCache({ ratio, encodeNsPerByte, decodeNsPerByte }: CodecCost): CodecCost {
  return {
    ratio,
    encodeNsPerByte: encodeNsPerByte * OUT_OF_CACHE,
    decodeNsPerByte: decodeNsPerByte * OUT_OF_CACHE,
  };
}
