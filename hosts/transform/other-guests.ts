/**
 * What a destination's mover sees of the other guests of its host, when its migration asked for that: where
 * which content was last seen (held-contents.ts), and their memory. They run meanwhile, and come and go.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { CONTENT_NAME_BYTES, hashOfName, isNamed } from './content-name.ts';
import { HeldContents } from './held-contents.ts';
import { hashPage, type PageHash } from './page-hash.ts';
import { SentContents } from './sent-contents.ts';

const ZEROES = Buffer.alloc(PAGE_BYTES);

/** A guest of this host: its number here, from 1 and never given twice, and its memory. */
export interface LentGuest {
  readonly id: number;
  readonly memory: SharedArrayBuffer;
}

/** What the host lends to a mover. */
export interface LentContents {
  /** Of HeldContents. */
  readonly contents: SharedArrayBuffer;
  /** The guest that moves. */
  readonly self: LentGuest;
  readonly others: readonly LentGuest[];
}

export class OtherGuests {
  readonly #contents: HeldContents;
  readonly #self: number;
  readonly #memories = new Map<number, Buffer>();
  readonly #hash: PageHash = { low: 0, high: 0 };

  constructor({ contents, self, others }: LentContents) {
    this.#contents = new HeldContents(contents);
    this.#self = self.id;
    for (const guest of [self, ...others]) this.came(guest);
  }

  came({ id, memory }: LentGuest): void {
    this.#memories.set(id, Buffer.from(memory));
  }

  /** It is no more: nothing of it is held on to, and what is known of it is a miss. */
  gone(id: number): void {
    this.#memories.delete(id);
  }

  /** A page of the guest that moves was placed, and is there for others. */
  placed(page: number, content: Uint8Array): void {
    hashPage(content, this.#hash);
    this.#contents.put(this.#hash, this.#self, page);
  }

  /**
   * Looks for a content that was named (content-name.ts).
   *
   * @param into the caller's own page, garbage when it is not found
   * @returns whether it is there now
   */
  copy(name: Buffer, into: Uint8Array): boolean {
    const hash = hashOfName(name.subarray(0, CONTENT_NAME_BYTES));
    const held = this.#contents.find(hash);
    if (held === undefined) return false;
    const memory = this.#memories.get(held.guest);
    const start = held.page * PAGE_BYTES;
    if (memory !== undefined && start + PAGE_BYTES <= memory.byteLength) {
      // The guest may write it at any time: what is proven is the copy.
      into.set(memory.subarray(start, start + PAGE_BYTES));
      if (isNamed(into, name)) return true;
    }
    this.#contents.delete(hash);
    return false;
  }

  /**
   * Enters what the other guests hold, and answers the hashes of it, each once, page after page: undefined for a page
   * that adds none.
   *
   * @param pagesMax of all guests together
   */
  *hashes(pagesMax: number): Generator<PageHash | undefined> {
    const told = new SentContents(SentContents.allocate(pagesMax));
    let pagesLeft = pagesMax;
    for (const [guest, memory] of this.#memories) {
      if (guest === this.#self) continue;
      const pageCount = Math.min(memory.byteLength / PAGE_BYTES, pagesLeft);
      pagesLeft -= pageCount;
      for (let page = 0; page < pageCount; page++) {
        const content = memory.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
        const hash = { low: 0, high: 0 };
        if (Buffer.compare(content, ZEROES) !== 0) hashPage(content, hash);
        const isNew = !told.has(hash) && hash.low + hash.high > 0;
        if (isNew) {
          told.add(hash);
          this.#contents.put(hash, guest, page);
        }
        yield isNew ? hash : undefined;
      }
    }
  }
}
