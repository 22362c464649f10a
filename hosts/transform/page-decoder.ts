/**
 * Restores at the destination the pages of CODED frames. Nothing of a frame reaches guest memory before all of it was
 * decompressed and checked.
 */

import { errorText } from '../../proto/errors.ts';
import type { TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { WireViolation } from '../migration/channel-receiver.ts';
import type { ReceivedMemory } from '../migration/received-memory.ts';
import { type CodedFrame, contentBytesOf, type PageRun, RunKind, WireCodec } from '../migration/wire.ts';
import { decodePayload } from './codecs/registry.ts';
import type { PageRestorer, PageRestorers } from './page-restorer.ts';
import { TransformMeasure } from './transform-measure.ts';

export class PageDecoder {
  readonly #memory: ReceivedMemory;
  readonly #restorers: PageRestorers;
  readonly #measure = new TransformMeasure('compression', '');

  constructor(memory: ReceivedMemory, restorers: PageRestorers) {
    this.#memory = memory;
    this.#restorers = restorers;
  }

  /** Places a frame's pages. @throws WireViolation for a payload that cannot be what the frame says */
  place(frame: CodedFrame, payload: Uint8Array): void {
    const decoded = this.#decode(frame, payload);
    let end = 0;
    for (const run of frame.runs) end = this.#check(run, decoded, end);
    if (end !== decoded.byteLength) {
      throw new WireViolation(`CODED has ${decoded.byteLength} bytes; its runs end at ${end}`);
    }
    let offset = 0;
    for (const run of frame.runs) offset = this.#place(run, decoded, offset);
  }

  /** What was undone of the compression, if any came. */
  reports(): TransformReport[] {
    return this.#measure.pagesIn === 0 ? [] : [this.#measure.report()];
  }

  #decode(frame: CodedFrame, payload: Uint8Array): Buffer {
    const { codec, decodedBytes } = frame;
    let decoded = payload;
    if (codec !== WireCodec.NONE) {
      const measure = this.#measure;
      measure.pagesIn += contentBytesOf(frame) / PAGE_BYTES;
      measure.bytesIn += payload.byteLength;
      measure.bytesOut += decodedBytes;
      try {
        decoded = measure.during(() => decodePayload(codec, payload, decodedBytes));
      } catch (error) {
        throw new WireViolation(`CODED cannot be decompressed: ${errorText(error)}`);
      }
    }
    return Buffer.from(decoded.buffer, decoded.byteOffset, decoded.byteLength);
  }

  /** Where the run's bodies end. */
  #check({ firstPage, pageCount, kind }: PageRun, decoded: Buffer, start: number): number {
    if (kind === RunKind.ZERO) return start;
    let end = start;
    for (let page = firstPage; page < firstPage + pageCount; page++) {
      if (end < decoded.byteLength) {
        end = kind === RunKind.DATA ? end + PAGE_BYTES : this.#restorer(kind).check(page, decoded, end);
        if (end <= decoded.byteLength) continue;
      }
      throw new WireViolation(`CODED has ${decoded.byteLength} bytes, which end before page ${page} does`);
    }
    return end;
  }

  #place({ firstPage, pageCount, kind }: PageRun, decoded: Buffer, start: number): number {
    let end = start;
    if (kind === RunKind.ZERO) {
      this.#memory.clear(firstPage, pageCount);
    } else if (kind === RunKind.DATA) {
      end += pageCount * PAGE_BYTES;
      // Not Buffer.copy: it takes its offsets modulo 4 GiB (Node 24).
      this.#memory.open(firstPage, pageCount).set(decoded.subarray(start, end));
    } else {
      const restorer = this.#restorer(kind);
      for (let page = firstPage; page < firstPage + pageCount; page++)
        end = restorer.place(page, decoded, end);
    }
    return end;
  }

  #restorer(kind: Exclude<RunKind, typeof RunKind.DATA | typeof RunKind.ZERO>): PageRestorer {
    const restorer = this.#restorers[kind];
    if (restorer === undefined)
      throw new WireViolation(`CODED brings runs of kind ${kind}, which nobody asked for`);
    return restorer;
  }
}
