/**
 * A guest's memory as its pages arrive, the same for all channels. Fresh memory is zero, so a page of zeroes is filled
 * only if something was there.
 */

import { PAGE_BYTES } from '../../proto/page.ts';

export class ReceivedMemory {
  readonly #memory: Buffer;
  /** 1 for each page that may hold something. */
  readonly #touched: Uint8Array;

  /** @param memory the guest's, fresh */
  constructor(memory: SharedArrayBuffer) {
    this.#memory = Buffer.from(memory);
    this.#touched = new Uint8Array(memory.byteLength / PAGE_BYTES);
  }

  get pageCount(): number {
    return this.#touched.length;
  }

  /** A view of these pages, to be read. */
  pages(firstPage: number, pageCount: number): Buffer {
    return this.#memory.subarray(firstPage * PAGE_BYTES, (firstPage + pageCount) * PAGE_BYTES);
  }

  /** A view of these pages, to be written. */
  open(firstPage: number, pageCount: number): Buffer {
    // Also what is cut off in the middle has been written to.
    this.#touched.fill(1, firstPage, firstPage + pageCount);
    return this.pages(firstPage, pageCount);
  }

  /** Fills them with zeroes. */
  clear(firstPage: number, pageCount: number): void {
    for (let page = firstPage; page < firstPage + pageCount; page++) {
      if (this.#touched[page] === 1) this.pages(page, 1).fill(0);
    }
  }
}
