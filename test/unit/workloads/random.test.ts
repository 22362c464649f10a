/** The random numbers: the published sequence, and even spread. */

import { describe, expect, it } from 'vitest';
import { Random } from '../../../workloads/random.ts';
import { permutation } from '../../../workloads/working-set.ts';

describe('Random', () => {
  it('draws the sequence of xoshiro128** from the state 1, 2, 3, 4', () => {
    const random = new Random(0n, 0);
    random.load([1, 2, 3, 4]);
    // The first values of the reference implementation (prng.di.unimi.it/xoshiro128starstar.c).
    expect([1, 2, 3, 4].map(() => random.next())).toEqual([11520, 0, 5927040, 70819200]);
  });

  it('draws from all of a range, evenly', () => {
    const random = new Random(5n, 0);
    const counts = new Array<number>(10).fill(0);
    for (let draw = 0; draw < 100_000; draw++) {
      const value = random.below(10);
      counts[value] = (counts[value] as number) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(600);
  });

  it('keeps to the largest range and to fractions below 1', () => {
    const random = new Random(5n, 0);
    for (let draw = 0; draw < 10_000; draw++) {
      const value = random.below(2 ** 31);
      expect(value >= 0 && value < 2 ** 31).toBe(true);
      expect(random.fraction()).toBeLessThan(1);
    }
  });

  it('has unrelated streams for one seed, and for seeds that differ only in their upper half', () => {
    const draws = [new Random(1n, 0), new Random(1n, 1), new Random(1n + (1n << 40n), 0)].map((random) =>
      random.next(),
    );
    expect(new Set(draws).size).toBe(3);
  });

  it('refuses a state of zeroes only, which it would never leave', () => {
    expect(() => new Random(1n, 0).load([0, 0, 0, 0])).toThrow('found [0,0,0,0]');
  });
});

it.each([1, 2, 3, 100, 1024, 4097])('permutes %d numbers', (count) => {
  const permute = permutation(count, 99);
  const numbers = Array.from({ length: count }, (_, index) => index);
  const permuted = numbers.map(permute);
  expect(permuted.toSorted((a, b) => a - b)).toEqual(numbers);
  if (count >= 100) expect(permuted).not.toEqual(numbers);
});
