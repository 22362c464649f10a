/**
 * Where a host holds which content: from the hash of a page's content to a guest of this host and a page of it,
 * in memory that the movers of all guests on the host share. Each mover puts in what it places, and looks here
 * for what comes as a digest.
 *
 * What an entry says may be long past: the guest has written the page, or is gone. So whoever follows an entry
 * copies the page, and believes the copy's digest alone.
 */

import { HashTable } from './hash-table.ts';
import type { PageHash } from './page-hash.ts';

/** The hash, the guest, the page. */
const ENTRY_WORDS = 4;

/** A page of a guest, as the host numbers its guests (from 1, none twice). */
export interface HeldPage {
  guest: number;
  page: number;
}

export class HeldContents {
  readonly #table: HashTable;

  /** @param shared of `HeldContents.allocate` */
  constructor(shared: SharedArrayBuffer) {
    this.#table = new HashTable(shared, ENTRY_WORDS);
  }

  /** Room for at least so many entries, empty. */
  static allocate(count: number): SharedArrayBuffer {
    return HashTable.allocate(count, ENTRY_WORDS);
  }

  /** Where such a content was last seen; undefined when that is not known. */
  find(hash: PageHash): HeldPage | undefined {
    const { words } = this.#table;
    const place = this.#table.find(hash);
    if (place === undefined) return undefined;
    const guest = words[place + 2] as number;
    return guest === 0 ? undefined : { guest, page: words[place + 3] as number };
  }

  /** A page holds this content now. It takes the place of what was known of it, or, in a full line, of another. */
  put(hash: PageHash, guest: number, page: number): void {
    const { words } = this.#table;
    const place = this.#table.put(hash);
    words[place + 2] = guest;
    words[place + 3] = page;
  }

  /** The entry was found to be past. */
  delete(hash: PageHash): void {
    this.#table.delete(hash);
  }
}
