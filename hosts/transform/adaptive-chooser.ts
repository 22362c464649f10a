/**
 * Adaptive compression in a migration: tells the policy (codec-policy.ts) what it wants to know, and turns what it
 * chooses into codecs and levels.
 */

import { availableParallelism } from 'node:os';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import type { CodecChoice, CodecChooser, CodingOutcome } from './codec-chooser.ts';
import type { Coded } from './codec-messages.ts';
import { type CodecCost, CodecPolicy } from './codec-policy.ts';
import { CODECS, decodePayload } from './codecs/registry.ts';
import { costOf } from './transform-measure.ts';

const NS_PER_MS = 1e6;
/** Enough for the rate to be that of a batch. */
const SAMPLE_BYTES_MAX = 16 * PAGE_BYTES;
const SAMPLE_RUNS = 2;
const SAMPLE_INTERVAL_MS = 500;
/** The first time a codec runs it is slower than later. */
const SECOND_SAMPLE_MS = 50;

const NONE: CodecChoice = { codec: 'none', level: 0 };

/**
 * What there is to choose from besides none. The first one is for what is sent before anything is known. Not deflate:
 * zstd makes no more of anything, in a tenth of the time.
 */
const CANDIDATES = [
  { codec: 'lz4', level: 0 },
  { codec: 'snappy', level: 0 },
  { codec: 'zstd', level: -5 },
  { codec: 'zstd', level: 1 },
  { codec: 'zstd', level: 3 },
] as const satisfies readonly CodecChoice[];
type Candidate = (typeof CANDIDATES)[number];

/** Codes bytes in shared memory, wherever that is done. */
type Code = (bytes: Uint8Array, choice: CodecChoice) => Coded | Promise<Coded>;

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
  #sampleDueAtMs = 0;
  #sampleCount = 0;

  /** @param threadCount threads that code besides the mover */
  constructor(threadCount: number) {
    this.#policy = new CodecPolicy(CANDIDATES.length, threadCount, availableParallelism());
  }

  next(): CodecChoice {
    return CANDIDATES[this.#policy.codec - 1] ?? NONE;
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
  }

  coded({ choice, decodedBytes, codedBytes }: CodingOutcome): void {
    const codec = CANDIDATES.findIndex((candidate) => candidate === choice) + 1;
    this.#policy.coded(codec, Math.min(1, codedBytes / decodedBytes));
  }

  sent(batch: SentBatch): void {
    this.#policy.sent(batch);
  }

  /** The destination has placed so much more of what was sent. */
  placed(wireBytes: number): void {
    this.#policy.placed(wireBytes, nowMs());
  }

  /** Measures all codecs on a part of a batch, when it is time to. */
  async sample(batch: Uint8Array, code: Code): Promise<void> {
    const atMs = nowMs();
    if (atMs < this.#sampleDueAtMs) return;
    this.#sampleDueAtMs = atMs + (this.#sampleCount++ === 0 ? SECOND_SAMPLE_MS : SAMPLE_INTERVAL_MS);
    // Its own: the batch goes on.
    const bytes = new Uint8Array(new SharedArrayBuffer(Math.min(batch.byteLength, SAMPLE_BYTES_MAX)));
    bytes.set(batch.subarray(0, bytes.byteLength));
    const costs: CodecCost[] = [];
    for (const choice of CANDIDATES) costs.push(await costOfCodec(choice, bytes, code));
    this.#policy.sampled(costs);
  }
}

/** What a codec does to some bytes. The better of two times: in the other one its thread may have lost the processor. */
async function costOfCodec(choice: Candidate, bytes: Uint8Array, code: Code): Promise<CodecCost> {
  let cost: CodecCost = { ratio: 1, encodeNsPerByte: Number.POSITIVE_INFINITY, decodeNsPerByte: 0 };
  for (let run = 0; run < SAMPLE_RUNS; run++) {
    const { codedBytes, coded, cost: encoding } = await code(bytes, choice);
    const decoding = coded && costOf(() => decodePayload(CODECS[choice.codec].wire, coded, bytes.byteLength));
    const nsPerByte = (timeMs = 0): number => (timeMs * NS_PER_MS) / bytes.byteLength;
    cost = {
      ratio: Math.min(1, codedBytes / bytes.byteLength),
      encodeNsPerByte: Math.min(cost.encodeNsPerByte, nsPerByte(encoding.timeMs)),
      decodeNsPerByte:
        run === 0
          ? nsPerByte(decoding?.cost.timeMs)
          : Math.min(cost.decodeNsPerByte, nsPerByte(decoding?.cost.timeMs)),
    };
  }
  return cost;
}
