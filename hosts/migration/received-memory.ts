/**
 * A guest's memory as its pages arrive, the same for all channels. Fresh memory is zero, so a page of zeroes is filled
 * only if something was there.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { PageSet } from './page-set.ts';

/** In `#states`: what is known of a page. */
const FRESH = 0;
const CAME_AS_ZEROES = 1;
const MAY_HOLD_SOMETHING = 2;

export class ReceivedMemory {
  /** The pages that were announced by a content that is not here: they hold something older, if anything. */
  readonly lacking: PageSet;
  readonly #memory: Buffer;
  readonly #states: Uint8Array;

  /**
   * @param memory the guest's, fresh
   * @param states a byte for each page, zero at first: the threads that bring pages share it
   */
  constructor(memory: SharedArrayBuffer, states: SharedArrayBuffer) {
    this.#memory = Buffer.from(memory);
    this.#states = new Uint8Array(states);
    this.lacking = new PageSet(this.#states.length);
  }

  /** A view of these pages, to be read. */
  pages(firstPage: number, pageCount: number): Buffer {
    return this.#memory.subarray(firstPage * PAGE_BYTES, (firstPage + pageCount) * PAGE_BYTES);
  }

  /** Whether a page is as the source last told. Also for a number that is no page's. */
  has(page: number): boolean {
    return (this.#states[page] ?? FRESH) !== FRESH && !this.lacking.has(page);
  }

  /** A view of these pages, to be written. */
  open(firstPage: number, pageCount: number): Buffer {
    // Also what is cut off in the middle has been written to.
    this.#states.fill(MAY_HOLD_SOMETHING, firstPage, firstPage + pageCount);
    this.#came(firstPage, pageCount);
    return this.pages(firstPage, pageCount);
  }

  /** Fills them with zeroes. */
  clear(firstPage: number, pageCount: number): void {
    for (let page = firstPage; page < firstPage + pageCount; page++) {
      if (this.#states[page] === MAY_HOLD_SOMETHING) this.pages(page, 1).fill(0);
      else this.#states[page] = CAME_AS_ZEROES;
    }
    this.#came(firstPage, pageCount);
  }

  #came(firstPage: number, pageCount: number): void {
    if (this.lacking.size === 0) return;
    for (let page = firstPage; page < firstPage + pageCount; page++) this.lacking.delete(page);
  }
}
