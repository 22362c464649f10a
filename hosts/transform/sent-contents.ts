/**
 * The contents that the guests of a gang have sent to one destination, as a set of hashes in shared memory: the guests'
 * movers, each a thread of its own, put in what they send, and send a digest where they find it. The set only says
 * what is worth a digest; the destination, which compares digests, says what is there.
 */

import { HashTable } from './hash-table.ts';
import type { PageHash } from './page-hash.ts';

const ENTRY_WORDS = 2;

export class SentContents {
  readonly #table: HashTable;

  /** @param shared of `SentContents.allocate` */
  constructor(shared: SharedArrayBuffer) {
    this.#table = new HashTable(shared, ENTRY_WORDS);
  }

  /** Room for at least so many hashes, empty. */
  static allocate(count: number): SharedArrayBuffer {
    return HashTable.allocate(count, ENTRY_WORDS);
  }

  has(hash: PageHash): boolean {
    return this.#table.find(hash) !== undefined;
  }

  /** Puts a hash in; a full line loses one for it. */
  add(hash: PageHash): void {
    this.#table.put(hash);
  }

  /** The destination did not have it. */
  delete(hash: PageHash): void {
    this.#table.delete(hash);
  }
}
