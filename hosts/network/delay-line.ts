/**
 * The way behind a link: each item arrives a delay after it has left, give or take the jitter. Order is kept,
 * as in a TCP stream: what overtakes would wait for the missing bytes anyhow. Pure arithmetic, as
 * rate-stage.ts.
 */

import { Fifo } from './fifo.ts';

export class DelayLine<Item> {
  readonly #items = new Fifo<{ readonly item: Item; dueMs: number }>();
  #lastDueMs = Number.NEGATIVE_INFINITY;

  get length(): number {
    return this.#items.length;
  }

  /** @returns when the item is due: never before an earlier one */
  push(item: Item, dueMs: number): number {
    this.#lastDueMs = Math.max(this.#lastDueMs, dueMs);
    this.#items.push({ item, dueMs: this.#lastDueMs });
    return this.#lastDueMs;
  }

  /** The next item that is due until now. */
  shift(nowMs: number): Item | undefined {
    const next = this.#items.peek();
    if (next === undefined || next.dueMs > nowMs) return undefined;
    this.#items.shift();
    return next.item;
  }

  /** When the next item is due; Infinity when there is none. */
  nextMs(): number {
    return this.#items.peek()?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /** Moves everything on the way into the future, since nothing moved for this long. */
  postpone(byMs: number): void {
    for (const entry of this.#items) entry.dueMs += byMs;
    if (this.#items.length > 0) this.#lastDueMs += byMs;
  }

  clear(): void {
    this.#items.clear();
  }
}
