/**
 * The mover's side of faults: which pages of a guest have not come yet, which of them vCPUs wait for, and
 * waking those up whose page has come. Two threads may use it, each for the pages that come to it: the incoming mover,
 * and the one for demanded pages. vcpu-faults.ts has the vCPU's side and says why no wake-up is lost.
 */

import { FAULT_BELL, faultWord, MISSING_PAGES } from './control-layout.ts';
import { PageTable } from './page-table.ts';
import { pageCountOf, type SharedGuest } from './shared-guest.ts';

/** Consecutive pages. */
interface PageRange {
  readonly firstPage: number;
  readonly pageCount: number;
}

export class MissingPages {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #pageTable: PageTable;
  readonly #vcpuCount: number;

  constructor(shared: SharedGuest) {
    this.#words = new Int32Array(shared.control);
    this.#pageTable = new PageTable(shared.pageTable, pageCountOf(shared.spec));
    this.#vcpuCount = shared.spec.vcpuCount;
  }

  /** How many have not come. */
  get count(): number {
    return Atomics.load(this.#words, MISSING_PAGES);
  }

  /** Whether a page has not come. */
  has(page: number): boolean {
    return !this.#pageTable.isPresent(page);
  }

  /** From now on this page, which was present, is missing. No vCPU executes. */
  add(page: number): void {
    this.#pageTable.markMissing(page);
    Atomics.add(this.#words, MISSING_PAGES, 1);
  }

  /** No page has come. No vCPU executes. */
  addAll(): void {
    this.#pageTable.markAllMissing();
    Atomics.store(this.#words, MISSING_PAGES, this.#pageTable.pageCount);
  }

  /** A page of these runs that is here; undefined when none is. */
  presentOf(runs: readonly PageRange[]): number | undefined {
    for (const { firstPage, pageCount } of runs) {
      for (let page = firstPage; page < firstPage + pageCount; page++) if (!this.has(page)) return page;
    }
    return undefined;
  }

  /** As `arrived`, run by run. */
  placed(runs: readonly PageRange[]): void {
    for (const { firstPage, pageCount } of runs) this.arrived(firstPage, pageCount);
  }

  /** Pages have come: their bytes are in memory. Wakes up who waits for them. */
  arrived(firstPage: number, pageCount: number): void {
    const end = firstPage + pageCount;
    let count = 0;
    for (let page = firstPage; page < end; page++) if (this.#pageTable.markPresent(page)) count++;
    Atomics.sub(this.#words, MISSING_PAGES, count);
    for (let vcpu = 0; vcpu < this.#vcpuCount; vcpu++) {
      const awaited = Atomics.load(this.#words, faultWord(vcpu));
      if (awaited <= firstPage || awaited > end) continue;
      // It may have been told to end in this moment: that stands.
      Atomics.compareExchange(this.#words, faultWord(vcpu), awaited, 0);
      Atomics.notify(this.#words, faultWord(vcpu));
    }
  }

  /** The missing pages that vCPUs wait for now, each once. */
  awaited(): Set<number> {
    const pages = new Set<number>();
    for (let vcpu = 0; vcpu < this.#vcpuCount; vcpu++) {
      const page = Atomics.load(this.#words, faultWord(vcpu)) - 1;
      if (page >= 0 && this.has(page)) pages.add(page);
    }
    return pages;
  }

  /** How often vCPUs have rung; to be read before `awaited`, for `rung`. */
  get bell(): number {
    return Atomics.load(this.#words, FAULT_BELL);
  }

  /** Waits until a vCPU has rung since the bell stood so. */
  async rung(since: number): Promise<void> {
    await Atomics.waitAsync(this.#words, FAULT_BELL, since).value;
  }
}
