/**
 * Mixing of 32-bit words: the one source of everything in a guest that looks random but must be the same on
 * every host (stamps, boot content, scrambled page numbers). Words are signed, as an Int32Array holds them,
 * because V8 keeps those in registers.
 */

/** Knuth's multiplicative constant, 2^32 / phi made odd: spreads neighbouring numbers over all 32 bits. */
export const GOLDEN = 0x9e3779b1;

/**
 * A bijection of 32-bit words that changes half the bits for each bit changed (MurmurHash3's finalizer,
 * Appleby).
 */
export function mix32(word: number): number {
  let mixed = word;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/**
 * Folds a guest's 64-bit seed into the word that hashing in a hot path starts from. Different purposes get
 * unrelated words for the same seed.
 */
export function seedWord(seed: bigint, purpose: number): number {
  const low = Number(BigInt.asIntN(32, seed));
  const high = Number(BigInt.asIntN(32, seed >> 32n));
  return mix32(mix32(mix32(Math.imul(purpose + 1, GOLDEN)) ^ low) ^ high);
}
