/**
 * Makes of a batch what goes over the wire: each stage takes its pages, and what remains is compressed, here or in a
 * codec thread. A batch that does not shrink goes as it is.
 */

import {
  type CodecReport,
  Compression,
  type TransformReport,
  type Transforms,
} from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { compressionName } from '../../proto/transforms.ts';
import type { Silence } from '../migration/silence.ts';
import { type PageRun, RunKind, WireCodec } from '../migration/wire.ts';
import { AdaptiveChooser } from './adaptive-chooser.ts';
import { type CodecChoice, type CodecChooser, fixedChooser } from './codec-chooser.ts';
import type { Coded } from './codec-messages.ts';
import { CodecWorkers } from './codec-workers.ts';
import { CODECS, codeWith } from './codecs/registry.ts';
import { MovePhase, type PageBatch } from './page-batch.ts';
import type { TransformStage } from './stage.ts';
import { TransformMeasure } from './transform-measure.ts';

/** A batch as it goes over the wire. */
export interface CodedPages {
  readonly runs: readonly PageRun[];
  readonly codec: WireCodec;
  readonly decodedBytes: number;
  /** It may lie in the batch's memory. */
  readonly payload: Uint8Array;
  /** Of adaptive compression, when the codec was chosen: to be given to `sent`. */
  readonly phase: number;
}

export class PageEncoder {
  #referencedPages = 0;
  readonly #stages: readonly TransformStage[];
  readonly #chooser: CodecChooser | undefined;
  /** The chooser, when compression is adaptive. */
  readonly #adaptive: AdaptiveChooser | undefined;
  readonly #threadCount: number;
  #workers: CodecWorkers | undefined;
  readonly #measure: TransformMeasure;
  readonly #codecs = new Map<string, { batches: number; bytesIn: number; bytesOut: number; cpuS: number }>();

  /**
   * @param stages dedup and delta, as far as they are asked for
   * @param silence of the destination, which says what has arrived
   */
  constructor(transforms: Transforms, stages: readonly TransformStage[], silence: Silence) {
    const { compression, compressionThreads } = transforms;
    this.#stages = stages;
    const isAdaptive = compression === Compression.COMPRESSION_ADAPTIVE;
    this.#adaptive = isAdaptive ? new AdaptiveChooser(compressionThreads, silence) : undefined;
    this.#chooser = this.#adaptive ?? fixedChooser(transforms);
    this.#measure = new TransformMeasure('compression', compressionName(compression) ?? '');
    this.#threadCount = compressionThreads;
    // What is adaptive may never need them, and their start takes a processor.
    if (this.#chooser !== undefined && !isAdaptive) this.#startThreads();
  }

  /**
   * A round begins.
   *
   * @param pages those that were collected for it
   * @param limitBytesPerS what may be sent; 0 for unlimited
   */
  roundBegins(pages: Uint32Array, limitBytesPerS: number): void {
    this.#adaptive?.roundBegins(limitBytesPerS);
    for (const stage of this.#stages) stage.roundBegins(pages);
  }

  /** From now on no more than this is sent. @param bytesPerS 0 for unlimited */
  limited(bytesPerS: number): void {
    this.#adaptive?.limited(bytesPerS);
  }

  /** The destination could not make a page of what was sent in this round. Answers whether that can be so. */
  refused(page: number): boolean {
    const answers = this.#stages.map((stage) => stage.refused(page));
    return answers.includes(true);
  }

  /** Everything sent so far is in place. */
  roundEnded(): void {
    for (const stage of this.#stages) stage.roundEnded();
  }

  /**
   * Takes a batch through the transforms.
   *
   * @returns a promise when a codec thread works on it; never rejects but for a fault in a transform
   */
  encode(batch: PageBatch): CodedPages | Promise<CodedPages> {
    for (const stage of this.#stages) stage.claim(batch);
    for (let index = 0; index < batch.size; index++)
      if (isReference(batch.kind(index))) this.#referencedPages++;
    const runs = batch.runs();
    const bytes = batch.join();
    const phase = this.phase;
    const raw = { runs, codec: WireCodec.NONE, decodedBytes: bytes.byteLength, payload: bytes, phase };
    if (this.#chooser === undefined || bytes.byteLength === 0) return raw;
    this.#adaptive?.sample(bytes);
    const choice = this.#chooser.next();
    const finish = (coded: Coded): CodedPages => this.#finish(raw, choice, coded, batch.size);
    const here = (): CodedPages => finish(codeWith(choice, bytes));
    if (choice.codec === 'none') return here();
    if (this.#adaptive?.isHeavy !== false) this.#startThreads();
    const there = this.#workers?.code(bytes, choice);
    return there === undefined ? here() : there.then(finish, here);
  }

  #startThreads(): void {
    if (this.#threadCount > 0) this.#workers ??= new CodecWorkers(this.#threadCount);
  }

  /** Whether pages may go as they are, without becoming batches: no stage wants them, and no codec is worth it. */
  get isRaw(): boolean {
    return this.#stages.length === 0 && this.#adaptive?.isRaw === true;
  }

  /** Of adaptive compression: between two changes of the choice. */
  get phase(): number {
    return this.#adaptive?.phase ?? 0;
  }

  /** A batch was given to a socket. @param isWaiting whether what was given before has not been taken yet */
  sent({ phase, decodedBytes, payload }: CodedPages, isWaiting: boolean): void {
    const wireBytes = payload.byteLength;
    this.#adaptive?.sent({ phase, pageBytes: decodedBytes, wireBytes, isWaiting });
  }

  /** Pages were given to a socket without becoming a batch. */
  sentRaw(pageCount: number, isWaiting: boolean): void {
    const bytes = pageCount * PAGE_BYTES;
    this.#measure.pagesIn += pageCount;
    this.#measure.bytesIn += bytes;
    this.#measure.bytesOut += bytes;
    this.#count('none', bytes, bytes, 0);
    this.#adaptive?.sent({ phase: this.phase, pageBytes: bytes, wireBytes: bytes, isWaiting });
  }

  /** The destination has placed so many more bytes of what was sent. */
  placed(wireBytes: number): void {
    this.#adaptive?.placed(wireBytes);
  }

  /** Pages that went as a word about where their content is, since this was last asked. */
  takeReferencedPages(): number {
    const pages = this.#referencedPages;
    this.#referencedPages = 0;
    return pages;
  }

  /** Whether the codec threads have enough to do, or enough is on its way: to be asked before the next batch. */
  isFull(phase: MovePhase): boolean {
    return this.#workers?.isFull === true || this.#isWayFull(phase);
  }

  /** Until that is no more so. @throws when the destination tells nothing for too long */
  async room(phase: MovePhase): Promise<void> {
    await this.#workers?.room();
    while (this.#isWayFull(phase)) await this.#adaptive?.arrival();
  }

  /** After the switch the push has a window of its own. */
  #isWayFull(phase: MovePhase): boolean {
    return phase !== MovePhase.SWITCHED && this.#adaptive?.isFull === true;
  }

  reports(): TransformReport[] {
    const stages = this.#stages.map((stage) => stage.report());
    if (this.#chooser === undefined) return stages;
    const codecs = [...this.#codecs].map(([codec, { batches, bytesIn, bytesOut, cpuS }]): CodecReport => {
      return { codec, batches: BigInt(batches), bytesIn: BigInt(bytesIn), bytesOut: BigInt(bytesOut), cpuS };
    });
    return [...stages, this.#measure.report(codecs)];
  }

  /** Ends the codec threads. */
  async close(): Promise<void> {
    await this.#workers?.close();
  }

  /** What was coded goes if it has become less. */
  #finish(raw: CodedPages, choice: CodecChoice, done: Coded, pageCount: number): CodedPages {
    const { decodedBytes } = raw;
    const { codedBytes, coded, cost } = done;
    this.#chooser?.coded({ choice, decodedBytes, codedBytes, cost });
    const bytesOut = Math.min(codedBytes, decodedBytes);
    const measure = this.#measure;
    measure.add(cost);
    measure.pagesIn += pageCount;
    measure.bytesIn += decodedBytes;
    measure.bytesOut += bytesOut;
    if (coded !== undefined) measure.hits += pageCount;
    else if (choice.codec !== 'none') measure.overflows += pageCount;
    this.#count(choice.codec, decodedBytes, bytesOut, cost.cpuS);
    if (choice.codec === 'none' || coded === undefined) return raw;
    return { ...raw, codec: CODECS[choice.codec].wire, payload: coded };
  }

  #count(codec: string, bytesIn: number, bytesOut: number, cpuS: number): void {
    const counts = this.#codecs.get(codec) ?? { batches: 0, bytesIn: 0, bytesOut: 0, cpuS: 0 };
    this.#codecs.set(codec, {
      batches: counts.batches + 1,
      bytesIn: counts.bytesIn + bytesIn,
      bytesOut: counts.bytesOut + bytesOut,
      cpuS: counts.cpuS + cpuS,
    });
  }
}

function isReference(kind: RunKind): boolean {
  return kind === RunKind.COPY || kind === RunKind.DIGEST;
}
