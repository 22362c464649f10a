/**
 * The one source of random numbers of workloads: xoshiro128** (Blackman and Vigna, "Scrambled linear
 * pseudorandom number generators", 2021), seeded by splitmix64 as its authors advise. Its state is four
 * words, so that it travels with the guest, and drawing a number neither allocates nor uses bigints.
 */

const MASK_64 = (1n << 64n) - 1n;
const PER_WORD = 2 ** -32;

export class Random {
  // Signed words: V8 keeps them as small integers on 64-bit machines.
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;

  /** Streams of the same seed are unrelated: one for each vCPU, and for each use within it. */
  constructor(seed: bigint, stream: number) {
    const start = splitmix64(seed & MASK_64) ^ BigInt(stream);
    const first = splitmix64(start);
    const second = splitmix64(first);
    this.#a = Number(BigInt.asIntN(32, first));
    this.#b = Number(BigInt.asIntN(32, first >> 32n));
    this.#c = Number(BigInt.asIntN(32, second));
    // All zeroes is the one state that the generator never leaves.
    this.#d = Number(BigInt.asIntN(32, second >> 32n)) || 1;
  }

  /** The next uint32. */
  next(): number {
    const scrambled = Math.imul(this.#b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    const c = this.#c ^ this.#a;
    const d = this.#d ^ this.#b;
    this.#b ^= c;
    this.#a ^= d;
    this.#c = c ^ shifted;
    this.#d = (d << 11) | (d >>> 21);
    return result;
  }

  /** A whole number from 0 to `count` - 1; `count` is from 1 to 2^31. The bias is at most count / 2^32. */
  below(count: number): number {
    return (this.next() * PER_WORD * count) | 0;
  }

  /** A number from 0 up to but not including 1, in steps of 2^-32. */
  fraction(): number {
    return this.next() * PER_WORD;
  }

  /** The state: four signed words. */
  save(): number[] {
    return [this.#a, this.#b, this.#c, this.#d];
  }

  /**
   * Goes on from what `save` answered. Throws when `state` is not four 32-bit words with one that is not
   * zero.
   */
  load(state: unknown): void {
    if (!isState(state)) {
      throw new Error(
        `loading a random number generator: found ${JSON.stringify(state)}, not its four signed words`,
      );
    }
    [this.#a, this.#b, this.#c, this.#d] = state;
  }
}

function isState(state: unknown): state is [number, number, number, number] {
  if (!Array.isArray(state) || state.length !== 4) return false;
  const words: unknown[] = state;
  return (
    words.every((word) => typeof word === 'number' && (word | 0) === word) && words.some((word) => word !== 0)
  );
}

/** One step of splitmix64 from `state` (Steele, Lea and Flood, 2014). */
function splitmix64(state: bigint): bigint {
  let mixed = (state + 0x9e3779b97f4a7c15n) & MASK_64;
  mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK_64;
  mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & MASK_64;
  return mixed ^ (mixed >> 31n);
}
