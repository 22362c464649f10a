/** Goal: the source is told what has arrived soon after it has, and never before it has begun to send. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ArrivalWords } from '../../../hosts/migration/arrival-words.ts';
import { MOVER_LIMITS } from '../../../hosts/migration/limits.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function make(): { arrived: ArrivalWords; said: number[] } {
  const said: number[] = [];
  return { arrived: new ArrivalWords(({ receivedBytes }) => said.push(receivedBytes)), said };
}

test('nothing is said of what came before the beginning, and all of it afterwards', () => {
  const { arrived, said } = make();
  // A WELCOME that came in two parts.
  arrived.received(100);
  arrived.received(20);
  arrived.begin();
  vi.advanceTimersByTime(10 * MOVER_LIMITS.arrivedIntervalMs);
  expect(said).toEqual([]);
  arrived.received(3);
  expect(said).toEqual([123]);
});

test('the first byte after a silence is told at once, and what follows it together', () => {
  const { arrived, said } = make();
  arrived.begin();
  for (const byteCount of [10, 1, 1, 1]) arrived.received(byteCount);
  expect(said).toEqual([10]);
  vi.advanceTimersByTime(MOVER_LIMITS.arrivedIntervalMs);
  expect(said).toEqual([10, 13]);
});
