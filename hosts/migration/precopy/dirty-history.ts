/**
 * In how many successive rounds a page was written: what a sender can know of the guest's writable working set
 * without asking it (Clark et al., NSDI 2005). Made of what each collection finds.
 */

const HEAT_MAX = 254;
/** Found in the next collection, it was not written. */
const COLD = 255;

export class DirtyHistory {
  readonly #heat: Uint8Array;
  /** The collection in which each page was last found. */
  readonly #last: Uint32Array;
  #collections = 0;

  constructor(pageCount: number) {
    this.#heat = new Uint8Array(pageCount);
    this.#last = new Uint32Array(pageCount);
  }

  /** These are the pages that were written since the last collection. */
  collected(pages: Uint32Array): void {
    const before = this.#collections++;
    for (const page of pages) {
      const heat = this.#last[page] === before && before > 0 ? (this.#heat[page] as number) : 0;
      this.#heat[page] = heat === COLD ? 0 : Math.min(heat + 1, HEAT_MAX);
      this.#last[page] = this.#collections;
    }
  }

  /** In how many of the last collections it was found, without a gap. It was found in the last one. */
  heatOf(page: number): number {
    return this.#heat[page] as number;
  }

  /** It will be found in the next collection, but was not written. */
  cooled(page: number): void {
    this.#heat[page] = COLD;
  }
}
