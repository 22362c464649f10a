/**
 * Zipfian choice of pages: the page of rank i (from 1) with a probability proportional to 1 / i^theta. The
 * generator is that of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994),
 * which YCSB uses too. It is exact for the first two ranks and approximate for the others. Ranks are
 * scattered over the pages by a seeded permutation, the same for all vCPUs of a guest, so that hot pages are
 * not neighbours.
 */

import { seedWord } from './hash.ts';
import type { Random } from './random.ts';
import { permutation } from './working-set.ts';

const SCATTER_PURPOSE = 4;
/** The terms of zeta that are summed one by one; the others are integrated. */
const EXACT_TERMS = 1000;

/**
 * The sum of 1 / i^theta for i from 1 to `count`, to within 1e-9: the Euler-Maclaurin formula replaces the
 * tail of the sum, which would take seconds for large memories.
 */
export function zeta(count: number, theta: number): number {
  let sum = 0;
  const exact = Math.min(count, EXACT_TERMS);
  for (let term = 1; term <= exact; term++) sum += term ** -theta;
  if (count > exact) {
    const integral = (count ** (1 - theta) - exact ** (1 - theta)) / (1 - theta);
    sum += integral + (count ** -theta - exact ** -theta) / 2;
    sum += (theta * (exact ** (-theta - 1) - count ** (-theta - 1))) / 12;
  }
  return sum;
}

/** A choice of one of `count` pages, from 0; theta is from 0 (uniform) to 0.999. */
export function createZipfian(count: number, theta: number, seed: bigint, random: Random): () => number {
  const scatter = permutation(count, seedWord(seed, SCATTER_PURPOSE));
  const total = zeta(count, theta);
  const firstTwo = zeta(2, theta);
  const exponent = 1 / (1 - theta);
  const eta = (1 - (2 / count) ** (1 - theta)) / (1 - firstTwo / total);
  const last = count - 1;
  return () => {
    const fraction = random.fraction();
    const scaled = fraction * total;
    if (scaled < 1 || last === 0) return scatter(0);
    if (scaled < firstTwo || last === 1) return scatter(1);
    const rank = (count * (eta * fraction - eta + 1) ** exponent) | 0;
    return scatter(Math.min(last, rank));
  };
}
