/**
 * The truth of a probe: which pages were written in a window of time, from the guest's own count of every page write.
 * The counts are copied when a window begins and compared when it ends, 4 bytes for each page and vCPU.
 *
 * A probe and its truth cannot begin in the same instant while the guest runs. So each of their borders is an action
 * of the probe (taking the marks off, counting them) between two looks at the counts, and what was written between
 * these looks is the border's `edgeWrites`: only those can have been seen by one and not by the other. An action that
 * ends in a handshake (control-block.ts) makes that exact: what a vCPU marked before it, it has counted after it.
 */

import { pageCountOf } from '../shared-guest.ts';
import type { ProbedGuest } from './probed-guest.ts';

/** How many windows can be told apart. */
export const WINDOWS_MAX = 16;

export class WriteTruth {
  /** For each page a bit for each window in which it was written. */
  readonly windows: Uint16Array;
  /** For each vCPU the pages that it wrote, summed over the windows. */
  readonly vcpuPages: number[];
  /** What was written while windows began and ended. */
  edgeWrites = 0;
  /** All page writes in the windows. */
  pageWrites = 0;
  readonly #counts: Uint32Array<SharedArrayBuffer>;
  readonly #known: Uint32Array;
  readonly #pageCount: number;
  readonly #stride: number;

  constructor({ shared, pageCount }: ProbedGuest) {
    this.#counts = new Uint32Array(shared.writes);
    this.#known = new Uint32Array(this.#counts.length);
    this.#pageCount = pageCount;
    this.#stride = pageCountOf(shared.spec);
    this.windows = new Uint16Array(pageCount);
    this.vcpuPages = Array.from({ length: shared.spec.vcpuCount }, () => 0);
  }

  /** Does once what is slow the first time. What it counts is forgotten. */
  rehearse(): void {
    this.begin(() => {});
    this.turn(0, () => {});
    this.windows.fill(0);
    this.vcpuPages.fill(0);
    this.edgeWrites = 0;
    this.pageWrites = 0;
  }

  /** The first window begins with this action. */
  begin(action: () => void): void {
    const before = this.#total(this.#counts);
    action();
    this.#known.set(this.#counts);
    this.edgeWrites += this.#total(this.#known) - before;
  }

  /**
   * A window ends, and the next begins, with this action.
   *
   * @param window less than WINDOWS_MAX
   * @returns how many pages were written that had no bit of this window yet
   */
  turn(window: number, action: () => void): number {
    const before = this.#total(this.#counts);
    action();
    let edgeWrites = this.#total(this.#known) - before;
    let pages = 0;
    for (let vcpu = 0; vcpu < this.vcpuPages.length; vcpu++) {
      let written = 0;
      const start = vcpu * this.#stride;
      for (let page = 0; page < this.#pageCount; page++) {
        const count = this.#counts[start + page] as number;
        const writes = count - (this.#known[start + page] as number);
        if (writes === 0) continue;
        this.#known[start + page] = count;
        this.pageWrites += writes;
        edgeWrites += writes;
        written++;
        const bits = this.windows[page] as number;
        if ((bits & (1 << window)) !== 0) continue;
        this.windows[page] = bits | (1 << window);
        pages++;
      }
      this.vcpuPages[vcpu] = (this.vcpuPages[vcpu] as number) + written;
    }
    this.edgeWrites += edgeWrites;
    return pages;
  }

  /** Forgets which pages were written in which window. */
  forget(): void {
    this.windows.fill(0);
  }

  /** All writes to the pages that are looked at. */
  #total(counts: Uint32Array): number {
    let sum = 0;
    for (let vcpu = 0; vcpu < this.vcpuPages.length; vcpu++) {
      const start = vcpu * this.#stride;
      for (let page = 0; page < this.#pageCount; page++) sum += counts[start + page] as number;
    }
    return sum;
  }
}
