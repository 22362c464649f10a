/**
 * Makes of a batch what goes over the wire: each stage takes its pages, and what remains is compressed, here or in a
 * codec thread. A batch that does not shrink goes as it is.
 */

import type { CodecReport, TransformReport, Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { compressionName } from '../../proto/transforms.ts';
import { type PageRun, WireCodec } from '../migration/wire.ts';
import { type CodecChoice, type CodecChooser, codecChooser, type LinkView } from './codec-chooser.ts';
import type { Coded } from './codec-messages.ts';
import { CodecWorkers } from './codec-workers.ts';
import { CODECS, codeWith } from './codecs/registry.ts';
import type { PageBatch } from './page-batch.ts';
import type { TransformStage } from './stage.ts';
import { TransformMeasure } from './transform-measure.ts';

/** A batch as it goes over the wire. */
export interface CodedPages {
  readonly runs: readonly PageRun[];
  readonly codec: WireCodec;
  readonly decodedBytes: number;
  /** It may lie in the batch's memory. */
  readonly payload: Uint8Array;
}

export class PageEncoder {
  readonly #stages: readonly TransformStage[];
  readonly #chooser: CodecChooser | undefined;
  readonly #workers: CodecWorkers | undefined;
  readonly #measure: TransformMeasure;
  readonly #codecs = new Map<string, { batches: number; bytesIn: number; bytesOut: number; cpuS: number }>();

  /** @param stages dedup and delta, as far as they are asked for */
  constructor(transforms: Transforms, stages: readonly TransformStage[]) {
    const { compression, compressionThreads } = transforms;
    this.#stages = stages;
    this.#chooser = codecChooser(transforms);
    this.#measure = new TransformMeasure('compression', compressionName(compression) ?? '');
    if (this.#chooser !== undefined && compressionThreads > 0) {
      this.#workers = new CodecWorkers(compressionThreads);
    }
  }

  /** A round begins. @param pages those that it sends */
  roundBegins(pages: Uint32Array): void {
    for (const stage of this.#stages) stage.roundBegins(pages);
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
  encode(batch: PageBatch, link: LinkView): CodedPages | Promise<CodedPages> {
    for (const stage of this.#stages) stage.claim(batch);
    const runs = batch.runs();
    const bytes = batch.join();
    const raw = { runs, codec: WireCodec.NONE, decodedBytes: bytes.byteLength, payload: bytes };
    if (this.#chooser === undefined || bytes.byteLength === 0) return raw;
    const choice = this.#chooser.next(bytes.byteLength, link);
    const finish = (coded: Coded): CodedPages => this.#finish(raw, choice, coded, batch.size);
    const here = (): CodedPages => finish(codeWith(choice, bytes));
    const there = choice.codec === 'none' ? undefined : this.#workers?.code(bytes, choice);
    return there === undefined ? here() : there.then(finish, here);
  }

  /** Whether the codec threads have enough to do: to be asked before the next batch. */
  get isFull(): boolean {
    return this.#workers?.isFull ?? false;
  }

  /** Until they have not. */
  async room(): Promise<void> {
    await this.#workers?.room();
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
