/**
 * Deduplication within a guest: which page, of those that the destination has, holds the same content as one
 * that is about to be sent.
 *
 * The hash finds a candidate, the page that was last sent with this hash. It is a twin only when what the
 * destination has of it is what it holds now, and that equals the copy that is to be sent:
 *
 * 1. It was sent after its dirty mark was last taken off. What was collected and not yet sent (also what a
 *    hybrid collects and never sends) is older at the destination.
 * 2. Its bytes now are those of the copy.
 * 3. It is not dirty, looked at AFTER the bytes: a vCPU sets the mark before it stores, once the handshake that
 *    followed the collection is over (control-block.ts). So there was no store since it was sent, and the bytes
 *    that were compared are those that were sent.
 * 4. The destination places it first: it was sent on the same channel, or in a round that the destination has
 *    said is placed.
 *
 * A collision of the hash fails at 2.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import type { PageTable } from '../guest/page-table.ts';
import type { PageHash } from './page-hash.ts';

/** In `#sentRounds`: not sent since it was last collected. */
const NOT_SENT = 0;
const ENTRY_WORDS = 2;
/** The entries where a hash may be. */
const WAYS = 4;
const LINE_WORDS = WAYS * ENTRY_WORDS;
/** Odd, so that channels lie far apart: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1;
/** What `find` answers when there is none. */
export const NO_TWIN = -1;

export class Twins {
  readonly #memory: Buffer;
  readonly #pageTable: PageTable;
  readonly #channelOf: (page: number) => number;
  /** The round in which each page was sent as bytes that the destination then has. */
  readonly #sentRounds: Uint32Array;
  /** Entries of two words: the upper half of a hash, and the page that was last sent with it and one; 0 for none. */
  readonly #candidates: Uint32Array;

  /**
   * @param memory the guest's, which runs
   * @param channelOf the channel on which a page goes
   */
  constructor(memory: SharedArrayBuffer, pageTable: PageTable, channelOf: (page: number) => number) {
    this.#memory = Buffer.from(memory);
    this.#pageTable = pageTable;
    this.#channelOf = channelOf;
    this.#sentRounds = new Uint32Array(pageTable.pageCount);
    // Half empty when no page is like another, so that few push each other out.
    const lines = 2 ** Math.ceil(Math.log2((2 * pageTable.pageCount) / WAYS));
    this.#candidates = new Uint32Array(lines * LINE_WORDS);
  }

  /** Their dirty marks were taken off: the destination has older ones until they are sent. */
  collected(pages: Uint32Array): void {
    for (const page of pages) this.#sentRounds[page] = NOT_SENT;
  }

  /**
   * A page whose content the destination has when it comes to this one, and which is `content`; NO_TWIN if none is
   * known.
   *
   * @param content a private copy
   * @param round that runs; all before it were placed
   */
  find(page: number, content: Uint8Array, hash: PageHash, round: number): number {
    const place = this.#place(page, hash);
    const twin = place === undefined ? NO_TWIN : (this.#candidates[place + 1] as number) - 1;
    if (twin === NO_TWIN || twin === page) return NO_TWIN;
    const sentRound = this.#sentRounds[twin] as number;
    if (sentRound === NOT_SENT) return NO_TWIN;
    if (sentRound === round && this.#channelOf(twin) !== this.#channelOf(page)) return NO_TWIN;
    const start = twin * PAGE_BYTES;
    // Both are large: Buffer.compare leaves JavaScript once, and stops at the first difference.
    if (Buffer.compare(this.#memory.subarray(start, start + PAGE_BYTES), content) !== 0) return NO_TWIN;
    return this.#pageTable.isDirty(twin) ? NO_TWIN : twin;
  }

  /** The destination will have this content of the page, from bytes that go on its channel now. */
  sent(page: number, round: number): void {
    this.#sentRounds[page] = round;
  }

  /** Among pages of this content it is the one to be found. */
  offer(page: number, hash: PageHash): void {
    const place = this.#place(page, hash) ?? this.#room(page, hash);
    this.#candidates[place] = hash.high;
    this.#candidates[place + 1] = page + 1;
  }

  /** The entry of a hash, if there is one. */
  #place(page: number, hash: PageHash): number | undefined {
    const line = this.#line(page, hash);
    for (let place = line; place < line + LINE_WORDS; place += ENTRY_WORDS) {
      if (this.#candidates[place] === hash.high && this.#candidates[place + 1] !== 0) return place;
    }
    return undefined;
  }

  /** An empty entry of the hash's line, or the one that is to be given up for it. */
  #room(page: number, hash: PageHash): number {
    const line = this.#line(page, hash);
    for (let place = line; place < line + LINE_WORDS; place += ENTRY_WORDS) {
      if (this.#candidates[place + 1] === 0) return place;
    }
    return line + (hash.high % WAYS) * ENTRY_WORDS;
  }

  /** Each channel finds its own: what another has sent in the same round is no twin yet. */
  #line(page: number, { low }: PageHash): number {
    const lines = this.#candidates.length / LINE_WORDS;
    return ((low + Math.imul(this.#channelOf(page), SPREAD)) & (lines - 1)) * LINE_WORDS;
  }
}
