/** Goal: the source's estimates are those that docs and reports define. */

import { describe, expect, test } from 'vitest';
import { Estimates, remainingMs } from '../../../hosts/migration/estimates.ts';

const MEGABYTE = 1_000_000;

describe('the estimates', () => {
  test('know nothing before the first round', () => {
    const estimates = new Estimates();
    expect(estimates.bandwidthBytesPerS).toBe(0);
    expect(estimates.expectedDowntimeMs(1)).toBeUndefined();
    expect(estimates.expectedDowntimeMs(0)).toBe(0);
  });

  test('take bandwidth and dirty rate from a long round alone', () => {
    const estimates = new Estimates();
    estimates.addRound(500 * MEGABYTE, 1000, 1, 0);
    estimates.addRound(20 * MEGABYTE, 200, 400, 0);
    expect(estimates.bandwidthBytesPerS).toBe(100 * MEGABYTE);
    expect(estimates.dirtyRatePagesPerS).toBe(2000);
  });

  test('do not take a short round, whose time is mostly the way there and back, for a slow link', () => {
    const estimates = new Estimates();
    estimates.addRound(100 * MEGABYTE, 1000, 0, 0);
    estimates.addRound(4096, 20, 3, 0);
    estimates.addRound(4096, 20, 1, 0);
    expect(estimates.bandwidthBytesPerS).toBeCloseTo((100 * MEGABYTE + 8192) / 1.04, 0);
    expect(estimates.dirtyRatePagesPerS).toBe(50);
  });

  test('know how long pages would take at the bandwidth that was measured', () => {
    const estimates = new Estimates();
    estimates.addRound(4096 * 1000, 1000, 0, 0);
    expect(estimates.expectedDowntimeMs(300)).toBe(300);
  });

  test('know what a page costs on the wire when transforms make less of it, and never more than a page', () => {
    const estimates = new Estimates();
    expect(estimates.pageBytes).toBe(4096);
    estimates.addRound(4096 * 1000 + 32_000, 1000, 0, 1000);
    expect(estimates.pageBytes).toBe(4096);
    estimates.addRound(1024 * 500, 500, 0, 500);
    expect(estimates.pageBytes).toBe(1024);
    expect(estimates.expectedDowntimeMs(100)).toBe(100);
    // A round of zeroes says nothing of what other pages cost.
    estimates.addRound(50, 200, 0, 0);
    expect(estimates.pageBytes).toBe(1024);
  });

  test('of the time to the end: unknown, finite, or never', () => {
    expect(remainingMs(100, 4096, 0, 5)).toBe(0);
    expect(remainingMs(100, 4096, 4096 * 1000, 500)).toBe(200);
    expect(remainingMs(100, 4096, 4096 * 1000, 1000)).toBe(-1);
  });
});
