/**
 * DIGEST at the destination: a page whose content another guest of this host may have. The body is the
 * content's name (content-name.ts). What is not here yet may be on its way, on another guest's connections: it
 * is looked for once more when the round ends. What is not here then is wanted from the source, and lacks until
 * it comes.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import type { ReceivedMemory } from '../migration/received-memory.ts';
import { CONTENT_NAME_BYTES } from './content-name.ts';
import type { OtherGuests } from './other-guests.ts';
import { bodyEnd } from './page-body.ts';
import type { PageRestorer } from './page-restorer.ts';
import { TransformMeasure } from './transform-measure.ts';

export class DigestRestorer implements PageRestorer {
  readonly #received: ReceivedMemory;
  readonly #others: OtherGuests;
  /** The names of what this round has brought and nobody here had, by page. */
  readonly #unresolved = new Map<number, Buffer>();
  readonly #content = Buffer.alloc(PAGE_BYTES);
  /** What looking for contents cost here, and what came of it. */
  readonly measure = new TransformMeasure('dedup', '');

  constructor(received: ReceivedMemory, others: OtherGuests) {
    this.#received = received;
    this.#others = others;
  }

  check(page: number, payload: Buffer, offset: number): number {
    return bodyEnd('digest', page, payload, offset, CONTENT_NAME_BYTES);
  }

  place(page: number, payload: Buffer, offset: number): number {
    const end = offset + CONTENT_NAME_BYTES;
    const name = payload.subarray(offset, end);
    this.measure.pagesIn++;
    this.measure.bytesIn += CONTENT_NAME_BYTES;
    if (!this.#resolve(page, name)) {
      this.#received.lacking.add(page);
      this.#unresolved.set(page, Buffer.from(name));
    }
    return end;
  }

  /**
   * A round has ended on a channel.
   *
   * @param isOnChannel whether a page comes on it
   * @returns the pages that are wanted
   */
  roundEnded(isOnChannel: (page: number) => boolean): number[] {
    const wanted: number[] = [];
    for (const [page, name] of this.#unresolved) {
      if (!isOnChannel(page)) continue;
      this.#unresolved.delete(page);
      // It may have come by other means since.
      if (!this.#received.lacking.has(page) || this.#resolve(page, name)) continue;
      this.measure.misses++;
      wanted.push(page);
    }
    return wanted;
  }

  #resolve(page: number, name: Buffer): boolean {
    if (!this.measure.during(() => this.#others.copy(name, this.#content))) return false;
    this.measure.hits++;
    this.measure.bytesOut += PAGE_BYTES;
    this.#received.open(page, 1).set(this.#content);
    return true;
  }
}
