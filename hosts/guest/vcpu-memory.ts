/**
 * Guest memory as one vCPU's workload sees it: page writes are stamped, counted, and tracked by the write
 * barrier. The hot path of every guest: plain loads and stores, typed arrays made once, nothing allocated.
 */

import { workloadPageCount } from '../../proto/guest-network.ts';
import { allocationSeedWord, writeAllocation } from '../../workloads/allocation.ts';
import type { GuestMemory } from '../../workloads/guest-memory.ts';
import { laneOffsetWords, stampSeedWord, writeStamp } from '../../workloads/stamp.ts';
import { PAGE_PRESENT, PAGE_READABLE, PAGE_READY, PageTable } from './page-table.ts';
import { COUNTER_WRITE_FAULTS, countersOf, pageCountOf, type SharedGuest } from './shared-guest.ts';
import { VcpuControl } from './vcpu-control.ts';
import { VcpuFaults } from './vcpu-faults.ts';

export class VcpuMemory implements GuestMemory {
  readonly pageCount: number;
  readonly #entries: Uint8Array<SharedArrayBuffer>;
  readonly #pageTable: PageTable;
  readonly #faults: VcpuFaults;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #writes: Uint32Array<SharedArrayBuffer>;
  readonly #counters: Float64Array<SharedArrayBuffer>;
  readonly #stampSeed: number;
  readonly #allocationSeed: number;
  readonly #vcpu: number;

  constructor(shared: SharedGuest, vcpu: number, control = new VcpuControl(shared.control, vcpu)) {
    this.pageCount = workloadPageCount(shared.spec);
    this.#pageTable = new PageTable(shared.pageTable, pageCountOf(shared.spec));
    this.#entries = this.#pageTable.entries;
    this.#faults = new VcpuFaults(shared, vcpu, this.#pageTable, control);
    this.#words = new Int32Array(shared.memory);
    this.#writes = writesOf(shared, vcpu);
    this.#counters = countersOf(shared, vcpu);
    this.#stampSeed = stampSeedWord(shared.spec.seed);
    this.#allocationSeed = allocationSeedWord(shared.spec.seed);
    this.#vcpu = vcpu;
  }

  write(page: number): void {
    // The check comes before the store; control-block.ts tells why a plain load is enough.
    if (this.#entries[page] !== PAGE_READY) this.#beforeWrite(page);
    writeStamp(this.#words, this.#stampSeed, page, this.#vcpu);
    this.#writes[page] = (this.#writes[page] as number) + 1;
  }

  read(page: number): number {
    if (((this.#entries[page] as number) & PAGE_READABLE) !== PAGE_READABLE) this.#beforeRead(page);
    return (this.#words[laneOffsetWords(page, this.#vcpu)] as number) >>> 0;
  }

  /** Waits for a page if it has not come. A safepoint, if so. */
  await(page: number): void {
    if (((this.#entries[page] as number) & PAGE_PRESENT) === 0) this.#faults.await(page);
  }

  /**
   * Writes the whole of a page of the kernel's, which is here: no safepoint. @param allocation whose content it
   * gets
   */
  fill(page: number, allocation: number): void {
    if (this.#entries[page] !== PAGE_READY) this.#beforeWrite(page);
    writeAllocation(this.#words, this.#allocationSeed, page, allocation);
    this.#writes[page] = (this.#writes[page] as number) + 1;
  }

  /** How long this vCPU has waited for missing pages. */
  get waitedMs(): number {
    return this.#faults.waitedMs;
  }

  /** The fault comes before the mark: while it waits, the vCPU passes safepoints. */
  #beforeWrite(page: number): void {
    this.await(page);
    if (!this.#pageTable.markDirty(page)) return;
    this.#counters[COUNTER_WRITE_FAULTS] = (this.#counters[COUNTER_WRITE_FAULTS] as number) + 1;
  }

  #beforeRead(page: number): void {
    this.await(page);
    this.#pageTable.markAccessed(page);
  }
}

/** The same without the write barrier: what the benchmark of its cost compares with. */
export class UntrackedMemory implements GuestMemory {
  readonly pageCount: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #writes: Uint32Array<SharedArrayBuffer>;
  readonly #stampSeed: number;
  readonly #vcpu: number;

  constructor(shared: SharedGuest, vcpu: number) {
    this.pageCount = workloadPageCount(shared.spec);
    this.#words = new Int32Array(shared.memory);
    this.#writes = writesOf(shared, vcpu);
    this.#stampSeed = stampSeedWord(shared.spec.seed);
    this.#vcpu = vcpu;
  }

  write(page: number): void {
    writeStamp(this.#words, this.#stampSeed, page, this.#vcpu);
    this.#writes[page] = (this.#writes[page] as number) + 1;
  }

  read(page: number): number {
    return (this.#words[laneOffsetWords(page, this.#vcpu)] as number) >>> 0;
  }
}

/** A vCPU's own part of `SharedGuest.writes`. */
function writesOf(shared: SharedGuest, vcpu: number): Uint32Array<SharedArrayBuffer> {
  const pageCount = pageCountOf(shared.spec);
  return new Uint32Array(shared.writes, vcpu * pageCount * Uint32Array.BYTES_PER_ELEMENT, pageCount);
}
