/**
 * What one reader of a stream has not read yet, bounded: a reader that falls behind loses the oldest
 * (progress, where only the newest counts) or is told so and ended (events, where each counts).
 */

import { RpcError } from '../proto/errors.ts';

export class BoundedQueue<Item> implements AsyncIterable<Item> {
  readonly #items: Item[] = [];
  readonly #itemsMax: number;
  readonly #whenFull: 'drop-oldest' | 'end';
  #closed = false;
  #overrun = false;
  #wake: () => void = () => {};

  constructor(itemsMax: number, whenFull: 'drop-oldest' | 'end') {
    this.#itemsMax = itemsMax;
    this.#whenFull = whenFull;
  }

  push(item: Item): void {
    if (this.#closed) return;
    this.#items.push(item);
    if (this.#items.length > this.#itemsMax) {
      if (this.#whenFull === 'end') this.#overrun = true;
      else this.#items.shift();
    }
    if (this.#overrun) this.close();
    this.#wake();
  }

  /** What was pushed before is still read; then the iteration ends. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#overrun) {
        const message = `fell behind by more than ${this.#itemsMax} messages; read faster, or begin again`;
        throw new RpcError('RESOURCE_EXHAUSTED', message);
      } else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
