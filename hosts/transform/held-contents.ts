/**
 * Where a host holds which content: from the hash of a page's content to a guest of this host and a page of it,
 * in memory that the movers of all guests on the host share. Each mover puts in what it places, and looks here
 * for what comes as a digest.
 *
 * Nothing is locked: two that write the same place may leave an entry of both. And what an entry says may be
 * long past: the guest has written the page, or is gone. So whoever follows an entry copies the page, and
 * believes the copy's digest alone.
 */

import type { PageHash } from './page-hash.ts';

const ENTRY_WORDS = 4;
/** The places where an entry may lie: those of one cache line. */
const WAYS = 4;
const LINE_WORDS = WAYS * ENTRY_WORDS;

/** A page of a guest, as the host numbers its guests (from 1, none twice). */
export interface HeldPage {
  guest: number;
  page: number;
}

export class HeldContents {
  readonly #words: Uint32Array<SharedArrayBuffer>;
  readonly #lineMask: number;

  /** @param shared of `HeldContents.allocate` */
  constructor(shared: SharedArrayBuffer) {
    this.#words = new Uint32Array(shared);
    this.#lineMask = this.#words.length / LINE_WORDS - 1;
  }

  /** Room for at least so many entries, empty. The system gives the memory as it is filled. */
  static allocate(count: number): SharedArrayBuffer {
    const lines = 2 ** Math.ceil(Math.log2(Math.max(count / WAYS, 1)));
    return new SharedArrayBuffer(lines * LINE_WORDS * Uint32Array.BYTES_PER_ELEMENT);
  }

  /** Where such a content was last seen; undefined when that is not known. */
  find(hash: PageHash): HeldPage | undefined {
    const place = this.#find(hash);
    if (place === undefined) return undefined;
    const guest = this.#words[place + 2] as number;
    return guest === 0 ? undefined : { guest, page: this.#words[place + 3] as number };
  }

  /** A page holds this content now. It takes the place of what was known of it, or, in a full line, of another. */
  put(hash: PageHash, guest: number, page: number): void {
    const words = this.#words;
    const place = this.#find(hash) ?? this.#room(hash);
    words[place] = hash.low;
    words[place + 1] = hash.high;
    words[place + 2] = guest;
    words[place + 3] = page;
  }

  /** The entry was found to be past. */
  delete(hash: PageHash): void {
    const place = this.#find(hash);
    if (place !== undefined) this.#words[place + 2] = 0;
  }

  /** An empty place of the hash's line, or the one that is to be given up for it. */
  #room({ low, high }: PageHash): number {
    const line = (low & this.#lineMask) * LINE_WORDS;
    for (let place = line; place < line + LINE_WORDS; place += ENTRY_WORDS) {
      if (this.#words[place + 2] === 0) return place;
    }
    return line + (high % WAYS) * ENTRY_WORDS;
  }

  #find({ low, high }: PageHash): number | undefined {
    const words = this.#words;
    const line = (low & this.#lineMask) * LINE_WORDS;
    for (let place = line; place < line + LINE_WORDS; place += ENTRY_WORDS) {
      if (words[place + 2] !== 0 && words[place] === low && words[place + 1] === high) return place;
    }
    return undefined;
  }
}
