/**
 * Goal: a row says what was measured, whether that is good enough, and whether anything is wrong. Method: rows
 * from made values, with and without a peer.
 */
import { describe, expect, test } from 'vitest';
import { hasFailed, type Outcome, row, spreadOf } from '../../../bench/row.ts';
import { tableText } from '../../../bench/table.ts';

const about = { work: 'a guest', measure: 'total time', unit: 'ms' };
const of = (...samples: number[]): Outcome<number> => ({ name: 'godwit', samples });
const peerOf = (...samples: number[]): Outcome<number> => ({ name: 'QEMU', samples });
const missing: Outcome<number> = { name: 'QEMU', problem: 'it is not installed', failed: false };
const broken: Outcome<number> = { name: 'godwit', problem: '3 pages are wrong', failed: true };

describe('a spread', () => {
  test('of an even number of values has the middle of the two middle ones as its median', () => {
    expect(spreadOf([9, 1, 4, 2])).toEqual({ median: 3, min: 1, max: 9, n: 4 });
  });

  test('of nothing is refused', () => {
    expect(() => spreadOf([])).toThrow('no values');
  });
});

describe('a row', () => {
  test('without a peer holds its median against the target', () => {
    expect(row(about, of(4, 5, 90), { target: { at_most: 5 } })).toMatchObject({ met: true, ratio: null });
    expect(row(about, of(4, 6, 6), { target: { at_most: 5 } })).toMatchObject({ met: false });
    expect(row(about, of(4, 6, 6), { target: { at_least: 5 } })).toMatchObject({ met: true });
  });

  test('with a peer holds the ratio of the medians against the target, and not the values', () => {
    const slower = row(about, of(80, 90, 100), { peer: peerOf(90, 100, 500), target: { at_most: 0.85 } });
    expect(slower).toMatchObject({ ratio: 0.9, met: false, peer: 'QEMU', peer_value: { median: 100 } });
    const fast = row(about, of(70), { peer: peerOf(100), target: { at_least: 0.65 } });
    expect(fast).toMatchObject({ ratio: 0.7, met: true });
  });

  test('without a target is neither met nor missed', () => {
    expect(row(about, of(1), { peer: peerOf(2) })).toMatchObject({ ratio: 0.5, target: null, met: null });
  });

  test('whose peer is missing is not measured, and no failure', () => {
    const found = row(about, of(1), { peer: missing, target: { at_most: 1 } });
    expect(found).toEqual({
      ...about,
      target: { at_most: 1 },
      not_measured: 'it is not installed',
      failed: false,
    });
    expect(hasFailed(found)).toBe(false);
    expect(tableText([found])).toContain('not measured: it is not installed');
  });

  test('of a guest that was moved with a fault has failed, whatever its peer did', () => {
    const found = row(about, broken, { peer: missing, target: { at_most: 1 } });
    expect(hasFailed(found)).toBe(true);
    expect(tableText([found])).toContain('FAILED: 3 pages are wrong');
  });

  test('that misses its target has not failed', () => {
    expect(hasFailed(row(about, of(2), { target: { at_most: 1 } }))).toBe(false);
  });
});
