/**
 * Puts arriving pages in their place: a frame of one data run is read straight into guest memory, gathered
 * runs come through a staging buffer of their channel, pages of zeroes are filled only if something was
 * there: fresh memory is zero.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { WIRE_LIMITS } from './limits.ts';
import { type PageRun, type PagesFrame, RunKind } from './wire.ts';

export class PagePlacer {
  readonly #memory: Buffer;
  /** 1 for each page that may hold something. Shared by all channels. */
  readonly #touched: Uint8Array;
  readonly #staging = Buffer.allocUnsafeSlow(WIRE_LIMITS.gatheredPagesMax * PAGE_BYTES);

  /**
   * @param memory the guest's
   * @param touched a byte for each of its pages, zero at first, the same for all channels
   */
  constructor(memory: SharedArrayBuffer, touched: Uint8Array) {
    this.#memory = Buffer.from(memory);
    this.#touched = touched;
  }

  /** Where the payload of a frame is to be read. */
  target({ runs, payloadBytes }: PagesFrame): Uint8Array {
    const [run] = runs;
    if (runs.length > 1 || run === undefined) return this.#staging.subarray(0, payloadBytes);
    // Also what is cut off in the middle has been written to.
    this.#touch(run);
    const start = run.firstPage * PAGE_BYTES;
    return this.#memory.subarray(start, start + payloadBytes);
  }

  /** The payload is where `target` said. */
  place({ runs }: PagesFrame): void {
    let staged = 0;
    for (const run of runs) {
      const start = run.firstPage * PAGE_BYTES;
      if (run.kind === RunKind.ZERO) {
        this.#clear(run);
      } else if (runs.length > 1) {
        const bytes = run.pageCount * PAGE_BYTES;
        // Not Buffer.copy: it takes its offsets modulo 4 GiB (Node 24).
        this.#memory.set(this.#staging.subarray(staged, staged + bytes), start);
        this.#touch(run);
        staged += bytes;
      }
    }
  }

  #touch({ firstPage, pageCount }: PageRun): void {
    this.#touched.fill(1, firstPage, firstPage + pageCount);
  }

  #clear({ firstPage, pageCount }: PageRun): void {
    for (let page = firstPage; page < firstPage + pageCount; page++) {
      if (this.#touched[page] === 1) this.#memory.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    }
  }
}
