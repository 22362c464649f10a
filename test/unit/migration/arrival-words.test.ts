/** When the destination says what has arrived, and that it says nothing before it may. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ArrivalWords } from '../../../hosts/migration/arrival-words.ts';
import { MOVER_LIMITS } from '../../../hosts/migration/limits.ts';
import type { Body } from '../../../hosts/migration/wire.ts';

const { arrivedIntervalMs } = MOVER_LIMITS;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function words(): { words: ArrivalWords; said: Body<'ARRIVED'>[] } {
  const said: Body<'ARRIVED'>[] = [];
  return { words: new ArrivalWords((word) => said.push(word)), said };
}

describe('the words about what arrives', () => {
  test('are none before START, also not later about what came before', () => {
    const { words: arrived, said } = words();
    arrived.received(100);
    arrived.begin();
    vi.advanceTimersByTime(1000);
    expect(said).toEqual([]);
    arrived.received(10);
    expect(said).toMatchObject([{ bytes: 0, receivedBytes: 110 }]);
  });

  test('come at once after a silence, then at intervals, and tell of all that was placed', () => {
    const { words: arrived, said } = words();
    arrived.begin();
    vi.advanceTimersByTime(1000);
    arrived.received(10);
    arrived.placed(4);
    arrived.received(10);
    arrived.placed(4);
    expect(said.length).toBe(1);
    vi.advanceTimersByTime(arrivedIntervalMs);
    expect(said[1]).toMatchObject({ bytes: 8, receivedBytes: 20 });
    vi.advanceTimersByTime(1000);
    expect(said.length).toBe(2);
  });
});
