/**
 * A table of hashes in shared memory that movers, each a thread of its own, read and write: a hash decides on a line of
 * some entries, as a processor's cache does, and an entry lies anywhere in its line. Nothing is locked and no order
 * kept: two that write the same place may leave an entry of both, or lose one. Who reads an entry believes it only
 * after a look at what it names.
 */

import type { PageHash } from './page-hash.ts';

/** A line is a cache line. */
const LINE_WORDS = 16;

export class HashTable {
  /** Each entry is its hash's low word, its high word, and what else it holds. */
  readonly words: Uint32Array<SharedArrayBuffer>;
  readonly #entryWords: number;
  readonly #lineMask: number;

  /**
   * @param shared of `HashTable.allocate`
   * @param entryWords 2 or more, a divisor of 16
   */
  constructor(shared: SharedArrayBuffer, entryWords: number) {
    this.words = new Uint32Array(shared);
    this.#entryWords = entryWords;
    this.#lineMask = this.words.length / LINE_WORDS - 1;
  }

  /** Room for at least so many entries, empty. The system gives the memory as it is filled. */
  static allocate(count: number, entryWords: number): SharedArrayBuffer {
    const lines = 2 ** Math.ceil(Math.log2(Math.max((count * entryWords) / LINE_WORDS, 1)));
    return new SharedArrayBuffer(lines * LINE_WORDS * Uint32Array.BYTES_PER_ELEMENT);
  }

  /** The place of the hash's entry in `words`; undefined when there is none. */
  find({ low, high }: PageHash): number | undefined {
    const line = this.#lineOf(low);
    for (let place = line; place < line + LINE_WORDS; place += this.#entryWords) {
      const isSame = this.words[place] === low && this.words[place + 1] === high;
      if (isSame && !this.#isEmpty(place)) return place;
    }
    return undefined;
  }

  /** Where the hash is now written: its entry, an empty place of its line, or one that is given up for it. */
  put(hash: PageHash): number {
    const place = this.find(hash) ?? this.#room(hash);
    this.words[place] = hash.low;
    this.words[place + 1] = hash.high;
    return place;
  }

  delete(hash: PageHash): void {
    const place = this.find(hash);
    if (place !== undefined) this.words.fill(0, place, place + this.#entryWords);
  }

  #room({ low, high }: PageHash): number {
    const line = this.#lineOf(low);
    for (let place = line; place < line + LINE_WORDS; place += this.#entryWords) {
      if (this.#isEmpty(place)) return place;
    }
    return line + (high % (LINE_WORDS / this.#entryWords)) * this.#entryWords;
  }

  /** All of it is 0: so an entry that holds nothing but a hash of zeroes is never there. */
  #isEmpty(place: number): boolean {
    for (let word = place; word < place + this.#entryWords; word++) if (this.words[word] !== 0) return false;
    return true;
  }

  #lineOf(low: number): number {
    return (low & this.#lineMask) * LINE_WORDS;
  }
}
