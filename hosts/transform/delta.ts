/**
 * Delta: a page that is sent again goes as what changed since it was last sent (XBZRLE), for as long as the
 * cache has what was last sent. The destination decodes against its own memory, which holds just that: a page's
 * versions come in their order, on one channel. Not after a switch to post-copy, since the guest then writes
 * that memory.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { RunKind } from '../migration/wire.ts';
import { MovePhase, type PageBatch } from './page-batch.ts';
import type { TransformStage } from './stage.ts';
import { TransformMeasure } from './transform-measure.ts';
import { encodeXbzrle, XBZRLE_OVERFLOW } from './xbzrle.ts';
import { XbzrleCache } from './xbzrle-cache.ts';

/** Before the encoding. */
const LENGTH_BYTES = 2;

export class Delta implements TransformStage {
  readonly #cache: XbzrleCache;
  readonly #measure = new TransformMeasure('delta', 'xbzrle');
  /** A body must be smaller than the page. */
  readonly #body = Buffer.alloc(PAGE_BYTES - 1);
  #round = 0;

  /** As XbzrleCache takes them. */
  constructor(cacheBytes: number, pageCount: number) {
    this.#cache = new XbzrleCache(cacheBytes, pageCount);
    this.#measure.cacheBytes = cacheBytes;
  }

  roundBegins(): void {
    this.#round++;
  }

  roundEnded(): void {}

  claim(batch: PageBatch): void {
    if (batch.phase === MovePhase.SWITCHED) return;
    this.#measure.during(() => {
      for (const { firstPage, pageCount } of batch.zeroRuns) {
        for (let page = firstPage; page < firstPage + pageCount; page++)
          this.#cache.putZero(page, this.#round);
      }
      for (let index = 0; index < batch.size; index++) this.#claimPage(batch, index);
    });
  }

  /** It was another stage's: what the destination holds now is not known. */
  refused(page: number): boolean {
    this.#cache.drop(page);
    return false;
  }

  report(): ReturnType<TransformStage['report']> {
    return this.#measure.report();
  }

  #claimPage(batch: PageBatch, index: number): void {
    const page = batch.page(index);
    const content = batch.content(index);
    if (batch.kind(index) === RunKind.DATA) this.#encode(batch, index, page, content);
    this.#cache.put(page, content, this.#round);
  }

  #encode(batch: PageBatch, index: number, page: number, content: Uint8Array): void {
    const measure = this.#measure;
    measure.pagesIn++;
    measure.bytesIn += PAGE_BYTES;
    const previous = this.#cache.find(page, this.#round);
    let sentBytes = PAGE_BYTES;
    if (previous === undefined) {
      measure.misses++;
    } else {
      const length = encodeXbzrle(previous, content, this.#body.subarray(LENGTH_BYTES));
      if (length === XBZRLE_OVERFLOW) {
        measure.overflows++;
      } else {
        measure.hits++;
        sentBytes = LENGTH_BYTES + length;
        this.#body.writeUInt16LE(length);
        batch.claim(index, RunKind.DELTA, Buffer.from(this.#body.subarray(0, sentBytes)));
      }
    }
    measure.bytesOut += sentBytes;
  }
}
