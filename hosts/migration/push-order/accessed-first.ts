/**
 * The pages that the guest has lately accessed before the rest, both in the same order: what it used a moment ago it
 * is most likely to use again. Which those are is known from the ACCESSED bits at the switch.
 */

import type { PageSet } from '../page-set.ts';
import type { PushOrder } from './push-order.ts';

export class AccessedFirst implements PushOrder {
  readonly #unsent: PageSet;
  readonly #accessed: PageSet;
  readonly #first: PushOrder;
  readonly #rest: PushOrder;

  /** @param accessed becomes its own: pages that have been sent leave it. */
  constructor(unsent: PageSet, accessed: PageSet, orderOf: (pages: PageSet) => PushOrder) {
    this.#unsent = unsent;
    this.#accessed = accessed;
    this.#first = orderOf(accessed);
    this.#rest = orderOf(unsent);
  }

  next(): number | undefined {
    for (;;) {
      const page = this.#first.next();
      if (page === undefined) return this.#rest.next();
      if (this.#unsent.has(page)) return page;
      this.#accessed.delete(page);
    }
  }

  demanded(page: number): void {
    this.#first.demanded(page);
    this.#rest.demanded(page);
  }
}
