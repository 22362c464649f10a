/**
 * A set of pages as a bitmap, with bitmaps over it that say which of the words below are not empty: the next page of a
 * set from any place on is found in a handful of steps however few are left, among 4 million as well.
 */

/** What `atOrAfter` and `atOrBefore` answer when there is none. */
export const NO_PAGE = -1;

const WORD_BITS = 32;
const ALL_BITS = 0xffff_ffff;

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

function highestBit(bits: number): number {
  return 31 - Math.clz32(bits);
}
