/**
 * A set of pages as a bitmap, with bitmaps over it that say which of the words below are not empty: the next page of a
 * set from any place on is found in a handful of steps however few are left, among 4 million as well.
 */

/** What `atOrAfter` and `atOrBefore` answer when there is none. */
export const NO_PAGE = -1;

const WORD_BITS = 32;
const ALL_BITS = 0xffff_ffff;

/** The size of a guest's pages as a bitmap. */
export function bitmapBytesOf(pageCount: number): number {
  return Math.ceil(pageCount / WORD_BITS) * Uint32Array.BYTES_PER_ELEMENT;
}

export class PageSet {
  readonly pageCount: number;
  /** The pages, then for each word whether it holds any, and so on up to a single word. */
  readonly #levels: Uint32Array[] = [];
  #size = 0;

  /** An empty set. @param pageCount of the guest. */
  constructor(pageCount: number) {
    this.pageCount = pageCount;
    let count = pageCount;
    do {
      count = Math.ceil(count / WORD_BITS);
      this.#levels.push(new Uint32Array(count));
    } while (count > 1);
  }

  /** Every page of a guest. */
  static all(pageCount: number): PageSet {
    const set = new PageSet(pageCount);
    let count = pageCount;
    for (const words of set.#levels) {
      words.fill(ALL_BITS);
      if (count % WORD_BITS > 0) words[words.length - 1] = ALL_BITS >>> (WORD_BITS - (count % WORD_BITS));
      count = words.length;
    }
    set.#size = pageCount;
    return set;
  }

  /**
   * The set that a bitmap says: a bit per page, the first page's the lowest of the first byte.
   *
   * @throws RangeError when it has another size than a guest of `pageCount` pages needs, or bits behind them
   */
  static fromBitmap(pageCount: number, bitmap: Uint8Array): PageSet {
    const set = new PageSet(pageCount);
    if (bitmap.byteLength !== set.bitmap.byteLength) {
      throw new RangeError(`a bitmap of ${bitmap.byteLength} bytes is not one of ${pageCount} pages`);
    }
    set.bitmap.set(bitmap);
    if (set.atOrBefore(bitmap.byteLength * 8 - 1) >= pageCount) {
      throw new RangeError(`a bitmap names a page behind the last of ${pageCount} pages`);
    }
    // Word by word, not page by page: a guest may be paused meanwhile.
    for (const [level, words] of set.#levels.entries()) {
      const above = set.#levels[level + 1];
      for (let index = 0; index < words.length; index++) {
        const word = words[index] as number;
        if (word === 0) continue;
        if (level === 0) set.#size += bitCount(word);
        if (above !== undefined) above[index >>> 5] = (above[index >>> 5] as number) | (1 << (index & 31));
      }
    }
    return set;
  }

  /** The set as fromBitmap takes it; a view that changes with it. */
  get bitmap(): Uint8Array {
    // The processors that Node runs on are little-endian.
    const [words] = this.#levels as [Uint32Array];
    return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  }

  get size(): number {
    return this.#size;
  }

  has(page: number): boolean {
    return ((this.#levels[0]?.[page >>> 5] ?? 0) & (1 << (page & 31))) !== 0;
  }

  /** Answers whether it was not in the set. @throws RangeError for what is no page of the guest. */
  add(page: number): boolean {
    if (!(page >= 0 && page < this.pageCount)) {
      throw new RangeError(`page ${page} is not one of ${this.pageCount} pages`);
    }
    if (this.has(page)) return false;
    let index = page;
    for (const words of this.#levels) {
      words[index >>> 5] = (words[index >>> 5] as number) | (1 << (index & 31));
      index >>>= 5;
    }
    this.#size++;
    return true;
  }

  /** Answers whether it was in the set. */
  delete(page: number): boolean {
    if (!this.has(page)) return false;
    let index = page;
    for (const words of this.#levels) {
      const word = (words[index >>> 5] as number) & ~(1 << (index & 31));
      words[index >>> 5] = word;
      if (word !== 0) break;
      index >>>= 5;
    }
    this.#size--;
    return true;
  }

  /** Adds consecutive pages, word by word. @throws RangeError when they are not all pages of the guest */
  addRun(firstPage: number, pageCount: number): void {
    if (!(firstPage >= 0 && pageCount >= 0 && firstPage + pageCount <= this.pageCount)) {
      throw new RangeError(
        `${pageCount} pages from page ${firstPage} on are not among ${this.pageCount} pages`,
      );
    }
    this.#changeRun(firstPage, pageCount, (word, mask) => word | mask);
  }

  /** Takes consecutive pages out, word by word. */
  deleteRun(firstPage: number, pageCount: number): void {
    this.#changeRun(firstPage, pageCount, (word, mask) => word & ~mask);
  }

  #changeRun(firstPage: number, pageCount: number, change: (word: number, mask: number) => number): void {
    const [words] = this.#levels as [Uint32Array];
    const end = firstPage + pageCount;
    for (let page = firstPage; page < end; ) {
      const index = page >>> 5;
      const wordEnd = Math.min((index + 1) << 5, end);
      const mask = (ALL_BITS >>> (WORD_BITS - (wordEnd - page))) << (page & 31);
      const before = words[index] as number;
      words[index] = change(before, mask);
      this.#size += bitCount(words[index]) - bitCount(before);
      this.#tellAbove(index);
      page = wordEnd;
    }
  }

  /** A word of the lowest level has changed: the levels above say whether it is empty. */
  #tellAbove(index: number): void {
    let below = index;
    for (let level = 1; level < this.#levels.length; level++) {
      const words = this.#levels[level] as Uint32Array;
      const isEmpty = (this.#levels[level - 1] as Uint32Array)[below] === 0;
      const bit = 1 << (below & 31);
      const place = below >>> 5;
      words[place] = isEmpty ? (words[place] as number) & ~bit : (words[place] as number) | bit;
      below = place;
    }
  }

  /** The least page of the set from this one on, or NO_PAGE. */
  atOrAfter(page: number): number {
    let index = page;
    for (let level = 0; level < this.#levels.length; level++) {
      const bits = ((this.#levels[level] as Uint32Array)[index >>> 5] ?? 0) & (-1 << (index & 31));
      if (bits !== 0) return this.#down(level, ((index >>> 5) << 5) + lowestBit(bits), lowestBit);
      index = (index >>> 5) + 1;
    }
    return NO_PAGE;
  }

  /** The greatest page of the set down from this one, or NO_PAGE. */
  atOrBefore(page: number): number {
    let index = page;
    for (let level = 0; level < this.#levels.length && index >= 0; level++) {
      const bits =
        ((this.#levels[level] as Uint32Array)[index >>> 5] ?? 0) & (ALL_BITS >>> (31 - (index & 31)));
      if (bits !== 0) return this.#down(level, ((index >>> 5) << 5) + highestBit(bits), highestBit);
      index = (index >>> 5) - 1;
    }
    return NO_PAGE;
  }

  /** The least page from this one on that is not in the set; `pageCount` when there is none. */
  absentFrom(page: number): number {
    const [words] = this.#levels as [Uint32Array];
    for (let index = page >>> 5; index < words.length; index++) {
      const below = index === page >>> 5 ? (1 << (page & 31)) - 1 : 0;
      const bits = ~((words[index] as number) | below);
      if (bits !== 0) return Math.min((index << 5) + lowestBit(bits), this.pageCount);
    }
    return this.pageCount;
  }

  /** From a word that holds some, found at a level, to the page. */
  #down(fromLevel: number, from: number, chosenBit: (bits: number) => number): number {
    let index = from;
    for (let level = fromLevel - 1; level >= 0; level--) {
      index = (index << 5) + chosenBit((this.#levels[level] as Uint32Array)[index] as number);
    }
    return index;
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/** How many bits are set, counted in pairs, fours and bytes at once. */
function bitCount(bits: number): number {
  const pairs = bits - ((bits >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

function highestBit(bits: number): number {
  return 31 - Math.clz32(bits);
}
