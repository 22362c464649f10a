/**
 * The contents that the guests of a gang have sent to one destination, as a set of hashes in shared memory: the guests'
 * movers, each a thread of its own, put in what they send, and send a digest where they find it.
 *
 * Nothing is locked and no order kept: two that write the same place may leave a hash that nobody put there, or lose
 * one. The set only says what is worth a digest; the destination, which compares digests, says what is there.
 */

import type { PageHash } from './page-hash.ts';

const HASH_WORDS = 2;
/** The places where a hash may lie: those of one cache line. */
const WAYS = 8;
const LINE_WORDS = WAYS * HASH_WORDS;

export class SentContents {
  readonly #words: Uint32Array<SharedArrayBuffer>;
  readonly #lineMask: number;

  /** @param shared of `SentContents.allocate` */
  constructor(shared: SharedArrayBuffer) {
    this.#words = new Uint32Array(shared);
    this.#lineMask = this.#words.length / LINE_WORDS - 1;
  }

  /** Room for at least so many hashes, empty. The system gives the memory as it is filled. */
  static allocate(count: number): SharedArrayBuffer {
    const lines = 2 ** Math.ceil(Math.log2(Math.max(count / WAYS, 1)));
    return new SharedArrayBuffer(lines * LINE_WORDS * Uint32Array.BYTES_PER_ELEMENT);
  }

  has(hash: PageHash): boolean {
    return this.#find(hash) !== undefined;
  }

  /** Puts a hash in; a full line loses one for it. */
  add(hash: PageHash): void {
    if (this.#find(hash) !== undefined) return;
    const place = this.#room(hash);
    this.#words[place] = hash.low;
    this.#words[place + 1] = hash.high;
  }

  /** The destination did not have it. */
  delete(hash: PageHash): void {
    const place = this.#find(hash);
    if (place === undefined) return;
    this.#words[place] = 0;
    this.#words[place + 1] = 0;
  }

  /** An empty place of the hash's line, or the one that is to be given up for it. */
  #room({ low, high }: PageHash): number {
    const words = this.#words;
    const line = (low & this.#lineMask) * LINE_WORDS;
    for (let place = line; place < line + LINE_WORDS; place += HASH_WORDS) {
      if (words[place] === 0 && words[place + 1] === 0) return place;
    }
    return line + (high % WAYS) * HASH_WORDS;
  }

  #find({ low, high }: PageHash): number | undefined {
    // That is how an empty place looks.
    if (low === 0 && high === 0) return undefined;
    const words = this.#words;
    const line = (low & this.#lineMask) * LINE_WORDS;
    for (let place = line; place < line + LINE_WORDS; place += HASH_WORDS) {
      if (words[place] === low && words[place + 1] === high) return place;
    }
    return undefined;
  }
}
