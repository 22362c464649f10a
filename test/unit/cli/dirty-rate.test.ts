/** The achieved dirty rate of a trial's warm-up. */
import { expect, test } from 'vitest';
import { achievedPagesPerS } from '../../../experiment/dirty-rate.ts';

const series = (atMs: number[], pageWrites: number[]) => ({ atMs, pageWrites, operations: pageWrites });

test('the time before the first write is not counted', () => {
  expect(achievedPagesPerS(series([0, 500, 520, 1520], [0, 0, 50, 5050]))).toBe(5000);
});

test('a guest that writes nothing has the rate 0, and one sample tells nothing', () => {
  expect(achievedPagesPerS(series([0, 20, 40], [0, 0, 0]))).toBe(0);
  expect(achievedPagesPerS(series([0], [0]))).toBeNull();
  expect(achievedPagesPerS(series([], []))).toBeNull();
});
