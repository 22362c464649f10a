/**
 * The free list of a guest's kernel, and what it says of it to the host. The kernel has the pages between the
 * workload's and the NIC's (guest-network.ts); all of them are free at boot, and it takes the one that has been
 * free for longest. So the list is a queue, and its places are numbers that only grow: place n is the page n
 * modulo the pages that there are.
 *
 *     freed            allocated       balloon from       balloon to       freed + pages
 *       |  pages in use    |      free      |   given back    |      free        |
 *
 * Written by vCPU 0, while it executes, one store for each number; they travel with the guest. Read by movers
 * at any time and by audits. Who reads both ends of a part while the guest runs loads its END FIRST: ends only
 * move up, and a beginning moves down only when a balloon that was empty is filled anew, with what is free up to
 * its new end. So each page between what was read was in that part when the second number was loaded.
 *
 * Why a free page may be left out by a mover that has taken the dirty marks off before it looked
 * (collectDirtyPages): the kernel counts the page as allocated, and then writes the whole of it through the
 * write barrier. So a page that was found free is written after that, and is dirty again. What a mover learned
 * before it collected says nothing any more.
 */

import { firstQueuePage, poolPageCount, workloadPageCount } from '../../proto/guest-network.ts';
import { SharedTimes } from './control-layout.ts';
import {
  ALLOCATED,
  BALLOON_FROM,
  BALLOON_TO,
  FREE_LIST_STATE_BYTES,
  FREED,
  NUMBERS,
} from './free-list-layout.ts';
import type { RunVisitor } from './page-table.ts';
import type { SharedGuest } from './shared-guest.ts';

/** Pages in use are at most this share of the kernel's: then the oldest is freed. */
const USED_SHARE = 1 / 4;

/** How much of the state of a guest's devices it is; nothing in a guest without such pages. */
export function freeListStateBytes(spec: SharedGuest['spec']): number {
  return poolPageCount(spec) === 0 ? 0 : FREE_LIST_STATE_BYTES;
}

export class FreeList {
  /** The kernel's pages: the first, and how many. */
  readonly firstPage: number;
  readonly pageCount: number;
  readonly usedPagesMax: number;
  readonly #numbers: SharedTimes;

  constructor(shared: SharedGuest) {
    this.firstPage = workloadPageCount(shared.spec);
    this.pageCount = firstQueuePage(shared.spec) - this.firstPage;
    this.usedPagesMax = Math.max(1, Math.floor(this.pageCount * USED_SHARE));
    this.#numbers = new SharedTimes(shared.freeList);
  }

  /** How many allocations there were. */
  get allocated(): number {
    return this.#numbers.load(ALLOCATED);
  }

  /** Which of them are over. */
  get freed(): number {
    return this.#numbers.load(FREED);
  }

  get balloonFrom(): number {
    return this.#numbers.load(BALLOON_FROM);
  }

  get balloonTo(): number {
    return this.#numbers.load(BALLOON_TO);
  }

  /** The page at a place of the list. */
  pageAt(place: number): number {
    return this.firstPage + (place % this.pageCount);
  }

  /** The allocation that a page is in use by; undefined when it is free. The guest stands still. */
  allocationOf(page: number): number | undefined {
    const { freed, pageCount } = this;
    const offset = (page - this.firstPage - (freed % pageCount) + pageCount) % pageCount;
    return freed + offset < this.allocated ? freed + offset : undefined;
  }

  /** Visits the runs of pages that are free. */
  visitFree(visit: RunVisitor): void {
    const to = this.freed + this.pageCount;
    this.visitPlaces(this.allocated, to, visit);
  }

  /** Visits the runs of pages that the guest has given back. */
  visitBalloon(visit: RunVisitor): void {
    const to = this.balloonTo;
    this.visitPlaces(this.balloonFrom, to, visit);
  }

  /** Visits the pages from one place up to another, at most all. */
  visitPlaces(from: number, to: number, visit: RunVisitor): void {
    for (let place = from; place < to; ) {
      const offset = place % this.pageCount;
      const count = Math.min(this.pageCount - offset, to - place);
      visit(this.firstPage + offset, count);
      place += count;
    }
  }

  // Of vCPU 0 alone.

  /** The next page is in use; whoever says so writes the whole of it before its next safepoint. Answers the page. */
  allocate(): number {
    const { allocated } = this;
    this.#numbers.store(ALLOCATED, allocated + 1);
    return this.pageAt(allocated);
  }

  /** The page that has been in use for longest is free. */
  free(): void {
    this.#numbers.store(FREED, this.freed + 1);
  }

  /** What is free is given back, but for the next `reserve` pages. Answers how many pages that were not before. */
  inflate(reserve: number): number {
    const to = this.freed + this.pageCount;
    const isEmpty = this.balloonFrom === this.balloonTo;
    // What was taken back stays, until all of it was: then the balloon is a new one.
    const from = Math.max(isEmpty ? 0 : this.balloonFrom, this.allocated + reserve);
    if (from >= to) return 0;
    const before = isEmpty ? from : Math.max(this.balloonTo, from);
    this.#numbers.store(BALLOON_FROM, from);
    this.#numbers.store(BALLOON_TO, to);
    return to - before;
  }

  /** Takes so many pages back; they are free. */
  deflate(pages: number): void {
    this.#numbers.store(BALLOON_FROM, Math.min(this.balloonFrom + pages, this.balloonTo));
  }

  /** What travels with the guest, which stands still. */
  save(): Float64Array<ArrayBuffer> {
    return Float64Array.of(this.allocated, this.freed, this.balloonFrom, this.balloonTo);
  }

  /** Puts down what `save` answered, in a guest that has not run here. @throws when it cannot be that */
  load(state: Float64Array): void {
    const [allocated = -1, freed = -1, from = -1, to = -1] = state;
    const isWhole =
      state.length === NUMBERS && state.every((value) => Number.isSafeInteger(value) && value >= 0);
    const end = freed + this.pageCount;
    const isBalloon = from === to || (allocated <= from && from <= to && to <= end);
    if (!isWhole || freed > allocated || allocated > end || !isBalloon) {
      throw new RangeError(`a free list of ${this.pageCount} pages cannot be ${[...state].join(', ')}`);
    }
    for (const [index, value] of state.entries()) this.#numbers.store(index, value);
  }
}
