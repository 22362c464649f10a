/**
 * The software page table: one byte per page, as an MMU keeps its bits. A vCPU that writes a page finds in
 * one plain load that the page is present and already marked; only the first write after the mark was cleared
 * takes the slow path, which marks it. Whoever moves or copies the guest collects the marks. A page that has
 * not come yet (post-copy) is not present: its first access takes the slow path too, which waits for it
 * (vcpu-faults.ts).
 *
 * Marks are set and cleared by atomic operations on whole 32-bit words (4 pages), the same size on both
 * sides; the check and the scan are plain loads. A scan that misses a mark just being set leaves it for the
 * next collection, and the last collection of a migration is made while the vCPUs are parked.
 *
 * Clearing a mark alone does NOT allow the page to be read: see control-block.ts for the trap, and use
 * collectDirtyPages, which cannot forget the handshake.
 */

import type { ControlBlock } from './control-block.ts';

export const PAGE_PRESENT = 1;
export const PAGE_DIRTY = 2;
export const PAGE_ACCESSED = 4;

/** The byte of a page that may be written without telling anybody. */
export const PAGE_READY = PAGE_PRESENT | PAGE_DIRTY | PAGE_ACCESSED;
/** The bits of a page that may be read without telling anybody. */
export const PAGE_READABLE = PAGE_PRESENT | PAGE_ACCESSED;

/** The dirty marks of four pages. */
const DIRTY_WORD = PAGE_DIRTY * 0x01010101;
const ONES = 0x01010101;

/** Visits a run of consecutive pages. */
export type RunVisitor = (firstPage: number, pageCount: number) => void;

export class PageTable {
  readonly pageCount: number;
  /** For the plain check of the write barrier. */
  readonly entries: Uint8Array<SharedArrayBuffer>;
  // Four pages a word, the first in the lowest byte: the processors that Node runs on are little-endian.
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param pageTable `SharedGuest.pageTable`: a byte for each page, filled up to a multiple of 8 */
  constructor(pageTable: SharedArrayBuffer, pageCount: number) {
    if (pageTable.byteLength % 8 !== 0 || pageTable.byteLength < pageCount) {
      throw new Error(`a page table of ${pageTable.byteLength} bytes does not fit ${pageCount} pages`);
    }
    this.pageCount = pageCount;
    this.entries = new Uint8Array(pageTable, 0, pageCount);
    this.#words = new Int32Array(pageTable);
  }

  /**
   * The slow path of the write barrier: marks a page as written. Before the write itself. Answers whether it had not
   * been.
   */
  markDirty(page: number): boolean {
    const shift = (page & 3) << 3;
    const marks = Atomics.or(this.#words, page >> 2, (PAGE_DIRTY | PAGE_ACCESSED) << shift);
    return ((marks >> shift) & PAGE_DIRTY) === 0;
  }

  /** The slow path of a read: the page is present. */
  markAccessed(page: number): void {
    Atomics.or(this.#words, page >> 2, PAGE_ACCESSED << ((page & 3) << 3));
  }

  /** Whether the guest has read or written a page since the marks were cleared. */
  isAccessed(page: number): boolean {
    return ((this.entries[page] as number) & PAGE_ACCESSED) !== 0;
  }

  /**
   * Whether a page was written since its mark was taken off. What was read of it before it was found clean is what
   * it held when that collection was over.
   */
  isDirty(page: number): boolean {
    const marks = Atomics.load(this.#words, page >> 2) >> ((page & 3) << 3);
    return (marks & PAGE_DIRTY) !== 0;
  }

  /** Takes the accessed marks off all pages. */
  clearAccessed(): void {
    const words = this.#words;
    for (let index = 0; index < words.length; index++) Atomics.and(words, index, ~(PAGE_ACCESSED * ONES));
  }

  /** Whether a page is here. What was stored before it was marked so can be read. */
  isPresent(page: number): boolean {
    const marks = Atomics.load(this.#words, page >> 2) >> ((page & 3) << 3);
    return (marks & PAGE_PRESENT) !== 0;
  }

  /** A page is not here: its next access is a fault. No vCPU executes. */
  markMissing(page: number): void {
    Atomics.and(this.#words, page >> 2, ~(0xff << ((page & 3) << 3)));
  }

  /** No page is here. No vCPU executes. */
  markAllMissing(): void {
    this.entries.fill(0);
  }

  /** The page has come: its bytes are in memory. Answers whether it was not here before. */
  markPresent(page: number): boolean {
    const shift = (page & 3) << 3;
    const marks = Atomics.or(this.#words, page >> 2, PAGE_PRESENT << shift);
    return ((marks >> shift) & PAGE_PRESENT) === 0;
  }

  /**
   * Takes the dirty marks off all pages and says which had one, in ascending order. Only with the handshake
   * that collectDirtyPages adds may their content be read.
   *
   * @param into room for all pages
   * @returns how many pages were dirty
   */
  collectDirty(into: Uint32Array): number {
    if (into.length < this.pageCount) {
      throw new Error(`collecting dirty pages: there is room for ${into.length} of ${this.pageCount} pages`);
    }
    const words = this.#words;
    let count = 0;
    for (let index = 0; index < words.length; index += 2) {
      // Eight clean pages cost two loads.
      const low = words[index] as number;
      const high = words[index + 1] as number;
      if (((low | high) & DIRTY_WORD) === 0) continue;
      if ((low & DIRTY_WORD) !== 0) count = this.#collectWord(index, into, count);
      if ((high & DIRTY_WORD) !== 0) count = this.#collectWord(index + 1, into, count);
    }
    return count;
  }

  #collectWord(index: number, into: Uint32Array, count: number): number {
    const marks = Atomics.and(this.#words, index, ~DIRTY_WORD);
    const page = index << 2;
    let next = count;
    if ((marks & PAGE_DIRTY) !== 0) into[next++] = page;
    if ((marks & (PAGE_DIRTY << 8)) !== 0) into[next++] = page + 1;
    if ((marks & (PAGE_DIRTY << 16)) !== 0) into[next++] = page + 2;
    if ((marks & (PAGE_DIRTY << 24)) !== 0) into[next++] = page + 3;
    return next;
  }

  /** How many pages are dirty now. */
  countDirty(): number {
    const words = this.#words;
    let count = 0;
    for (let index = 0; index < words.length; index++) {
      const marks = (words[index] as number) & DIRTY_WORD;
      // The sum of the four bytes gathers in the highest.
      if (marks !== 0) count += Math.imul(marks >>> 1, ONES) >>> 24;
    }
    return count;
  }

  /** Takes the dirty marks off all pages; what is said of collectDirty holds here. */
  clearDirty(): void {
    const words = this.#words;
    for (let index = 0; index < words.length; index++) {
      if (((words[index] as number) & DIRTY_WORD) !== 0) Atomics.and(words, index, ~DIRTY_WORD);
    }
  }

  /** Marks every page as written. */
  markAllDirty(): void {
    for (let page = 0; page < this.pageCount; page++) this.markDirty(page);
  }
}

/**
 * Which pages were written since the last collection, ready to be read: takes their marks off, then waits
 * until every vCPU has passed a safepoint. What is written from then on is marked again. Blocks for as long
 * as a vCPU works between two safepoints, some 50 microseconds; not for the main thread.
 *
 * @param into room for all pages; filled with page numbers in ascending order
 * @returns how many pages were dirty
 */
export function collectDirtyPages(pageTable: PageTable, control: ControlBlock, into: Uint32Array): number {
  const count = pageTable.collectDirty(into);
  control.passEpoch();
  return count;
}

/** The same for a caller who is about to read every page anyway: from here on, what is written is marked. */
export function clearDirtyPages(pageTable: PageTable, control: ControlBlock): void {
  pageTable.clearDirty();
  control.passEpoch();
}

/** Visits the runs of consecutive numbers among the first `count` of the ascending page numbers `pages`. */
export function runsOf(pages: Uint32Array, count: number, visit: RunVisitor): void {
  let start = 0;
  while (start < count) {
    const firstPage = pages[start] as number;
    let end = start + 1;
    while (end < count && pages[end] === firstPage + (end - start)) end++;
    visit(firstPage, end - start);
    start = end;
  }
}
