/**
 * Adaptive pre-paging by bubbling (Hines and Gopalan, VEE 2009): pages are pushed in bubbles that grow around the last
 * faults, since what the guest needs next is likely near to what it needed last. In each round every edge of every
 * bubble moves on by one page, and pushes it if it has not been sent; bubbles that meet grow no further where they met.
 *
 * The rounds are not walked through: the round in which an edge reaches its next unsent page is known from its
 * distance, and the edge with the earliest one is next. So a step costs the same however much lies behind.
 */

import { NO_PAGE, type PageSet } from '../page-set.ts';
import type { PushOrder } from './push-order.ts';

/** The middle of a bubble, and its edges. */
interface Pivot {
  page: number;
  /** The next unsent pages below it and from it on, as last looked up, or NO_PAGE. */
  lower: number;
  upper: number;
  /** The round in which it came here. */
  sinceRound: number;
  /** The fault that was last near it, counted. */
  lastFault: number;
}

export interface BubblingSettings {
  /** How many bubbles there are at most: 1 is the single pivot of the paper. */
  readonly pivots: number;
  /** dual: a bubble grows to both sides. forward: only to higher pages, and from the last page on to the first. */
  readonly sides: 'dual' | 'forward';
}

export class Bubbling implements PushOrder {
  readonly #unsent: PageSet;
  readonly #settings: BubblingSettings;
  /** By page; no two are at the same. */
  readonly #pivots: Pivot[] = [{ page: 0, lower: NO_PAGE, upper: 0, sinceRound: 0, lastFault: 0 }];
  #round = 0;
  #faultCount = 0;
  /** The choice of a step: its page, and the round in which an edge reaches it. */
  #chosen = NO_PAGE;
  #chosenRound = 0;

  constructor(unsent: PageSet, settings: BubblingSettings) {
    this.#unsent = unsent;
    this.#settings = settings;
  }

  next(): number | undefined {
    this.#chosen = NO_PAGE;
    this.#chosenRound = Number.POSITIVE_INFINITY;
    for (let index = 0; index < this.#pivots.length; index++) {
      this.#lookUpEdges(this.#pivots[index] as Pivot);
      if (this.#settings.sides === 'dual') this.#considerLower(index);
      this.#considerUpper(index);
    }
    if (this.#chosen === NO_PAGE) return undefined;
    this.#round = Math.max(this.#round, this.#chosenRound);
    return this.#chosen;
  }

  /** A fault at a bubble moves its pivot; any other is a pivot in place of the one that was longest without a fault. */
  demanded(page: number): void {
    this.#faultCount++;
    const pivot: Pivot = {
      page,
      lower: page - 1,
      upper: page,
      sinceRound: this.#round,
      lastFault: this.#faultCount,
    };
    const near = this.#bubbleAt(page);
    if (near !== undefined) {
      Object.assign(near, pivot);
      return;
    }
    if (this.#pivots.length >= this.#settings.pivots) {
      const oldest = this.#pivots.reduce((a, b) => (b.lastFault < a.lastFault ? b : a));
      this.#pivots.splice(this.#pivots.indexOf(oldest), 1);
    }
    const above = this.#pivots.findIndex((other) => other.page > page);
    this.#pivots.splice(above === -1 ? this.#pivots.length : above, 0, pivot);
  }

  /** The pivot, the nearest of them, whose bubble has this page inside or at its edge. */
  #bubbleAt(page: number): Pivot | undefined {
    let nearest: Pivot | undefined;
    for (const pivot of this.#pivots) {
      if (nearest !== undefined && Math.abs(page - pivot.page) >= Math.abs(page - nearest.page)) continue;
      this.#lookUpEdges(pivot);
      if (page >= pivot.lower && (pivot.upper === NO_PAGE || page <= pivot.upper)) nearest = pivot;
    }
    return nearest;
  }

  /** The set only shrinks: an edge stays where it is until its page has been sent. */
  #lookUpEdges(pivot: Pivot): void {
    const { lower, upper } = pivot;
    if (lower !== NO_PAGE && !this.#unsent.has(lower)) pivot.lower = this.#unsent.atOrBefore(lower);
    if (upper !== NO_PAGE && !this.#unsent.has(upper)) pivot.upper = this.#unsent.atOrAfter(upper);
  }

  /** The lower edge of a bubble, down to the pivot below. */
  #considerLower(index: number): void {
    const pivot = this.#pivots[index] as Pivot;
    const limit = this.#pivots[index - 1]?.page ?? NO_PAGE;
    if (pivot.lower > limit) this.#consider(pivot.lower, pivot.sinceRound + pivot.page - pivot.lower);
  }

  /** The upper edge of a bubble, up to the pivot above. */
  #considerUpper(index: number): void {
    const pivot = this.#pivots[index] as Pivot;
    const above = this.#pivots[index + 1];
    if (pivot.upper !== NO_PAGE && pivot.upper < (above?.page ?? this.#unsent.pageCount)) {
      this.#consider(pivot.upper, pivot.sinceRound + pivot.upper - pivot.page);
    } else if (this.#settings.sides === 'forward' && above === undefined) {
      const first = this.#unsent.atOrAfter(0);
      const limit = (this.#pivots[0] as Pivot).page;
      const distance = first + this.#unsent.pageCount - pivot.page;
      if (first !== NO_PAGE && first < limit) this.#consider(first, pivot.sinceRound + distance);
    }
  }

  #consider(page: number, round: number): void {
    if (round >= this.#chosenRound) return;
    this.#chosen = page;
    this.#chosenRound = round;
  }
}
