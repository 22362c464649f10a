/**
 * The pages as they were last sent, which delta.ts encodes against. As in QEMU (migration/page_cache.c): each
 * page has one place, by its number; a page that lies in another's place takes it over only when that one was
 * not used for a while, so that two pages that are written in turn do not throw each other out.
 */

import { PAGE_BYTES } from '../../proto/page.ts';

/** A page that was used within so many rounds keeps its place (QEMU's CACHED_PAGE_LIFETIME). */
const LIFETIME_ROUNDS = 2;
const EMPTY = 0;

export class XbzrleCache {
  readonly #pages: Uint8Array;
  /** Of each place: the page's number and one, or EMPTY; and the round in which it was last used. */
  readonly #owners: Uint32Array;
  readonly #rounds: Uint32Array;
  readonly #mask: number;

  /**
   * @param cacheBytes a power of two, at least a page; more than the guest has is not taken
   * @param pageCount the guest's
   */
  constructor(cacheBytes: number, pageCount: number) {
    if (!Number.isInteger(Math.log2(cacheBytes / PAGE_BYTES)) || cacheBytes < PAGE_BYTES) {
      throw new Error(
        `a cache for deltas of ${cacheBytes} bytes: it must be a power of two, from ${PAGE_BYTES} on`,
      );
    }
    const places = Math.min(cacheBytes / PAGE_BYTES, 2 ** Math.ceil(Math.log2(pageCount)));
    this.#pages = new Uint8Array(places * PAGE_BYTES);
    this.#owners = new Uint32Array(places);
    this.#rounds = new Uint32Array(places);
    this.#mask = places - 1;
  }

  /** What was last put for a page, as a view that the next `put` changes; undefined when it is not here. */
  find(page: number, round: number): Uint8Array | undefined {
    const place = page & this.#mask;
    if (this.#owners[place] !== page + 1) return undefined;
    this.#rounds[place] = round;
    return this.#pages.subarray(place * PAGE_BYTES, (place + 1) * PAGE_BYTES);
  }

  /**
   * Keeps a copy of a page as it was sent, if its place can be had.
   *
   * @param round of the migration, from 1: what is old is so by rounds
   */
  put(page: number, content: Uint8Array, round: number): void {
    if (this.#take(page, round)) this.#pages.set(content, (page & this.#mask) * PAGE_BYTES);
  }

  /** The same for a page of zeroes. */
  putZero(page: number, round: number): void {
    const place = page & this.#mask;
    if (this.#take(page, round)) this.#pages.fill(0, place * PAGE_BYTES, (place + 1) * PAGE_BYTES);
  }

  /** The destination may hold something else now. */
  drop(page: number): void {
    const place = page & this.#mask;
    if (this.#owners[place] === page + 1) this.#owners[place] = EMPTY;
  }

  /** Answers whether the page has its place. */
  #take(page: number, round: number): boolean {
    const place = page & this.#mask;
    const owner = this.#owners[place] as number;
    const isFresh = (this.#rounds[place] as number) + LIFETIME_ROUNDS > round;
    if (owner !== EMPTY && owner !== page + 1 && isFresh) return false;
    this.#owners[place] = page + 1;
    this.#rounds[place] = round;
    return true;
  }
}
