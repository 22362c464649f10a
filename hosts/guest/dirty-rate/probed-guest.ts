/** A guest as the probes of its dirty rate see it: its marks and counters. They write nothing of it but marks. */

import { NETWORK_PAGES } from '../../../proto/guest-network.ts';
import { ControlBlock } from '../control-block.ts';
import { clearDirtyPages, PAGE_ACCESSED, PAGE_DIRTY, PageTable } from '../page-table.ts';
import {
  COUNTER_OPERATIONS,
  COUNTER_WRITE_FAULTS,
  countersOf,
  pageCountOf,
  type SharedGuest,
} from '../shared-guest.ts';

export class ProbedGuest {
  readonly shared: SharedGuest;
  /** All but the NIC's pages, the last of the guest, whose writes nobody counts. */
  readonly pageCount: number;
  readonly control: ControlBlock;
  readonly pageTable: PageTable;
  readonly #counters: readonly Float64Array<SharedArrayBuffer>[];

  constructor(shared: SharedGuest) {
    const { spec } = shared;
    this.shared = shared;
    this.pageCount = pageCountOf(spec) - (spec.network === undefined ? 0 : NETWORK_PAGES);
    this.control = new ControlBlock(shared.control, spec.vcpuCount);
    this.pageTable = new PageTable(shared.pageTable, pageCountOf(spec));
    this.#counters = Array.from({ length: spec.vcpuCount }, (_, vcpu) => countersOf(shared, vcpu));
  }

  operations(): number {
    return this.#counters.reduce((sum, line) => sum + (line[COUNTER_OPERATIONS] as number), 0);
  }

  /** How often each vCPU was the first to write a page. */
  writeFaults(): number[] {
    return this.#counters.map((line) => line[COUNTER_WRITE_FAULTS] as number);
  }

  /** Takes the dirty marks off all pages. From here on, what is written is marked. */
  clearDirty(): void {
    clearDirtyPages(this.pageTable, this.control);
  }

  dirtyPages(): number {
    return this.#marked(PAGE_DIRTY);
  }

  accessedPages(): number {
    return this.#marked(PAGE_ACCESSED);
  }

  #marked(mark: number): number {
    const { entries } = this.pageTable;
    let count = 0;
    for (let page = 0; page < this.pageCount; page++) {
      if (((entries[page] as number) & mark) !== 0) count++;
    }
    return count;
  }
}
