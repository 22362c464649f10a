/**
 * The pacer with a clock of the test's own: no drift, no catching up of pauses, a bound to what is caught up.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BACKLOG_MS_MAX, SLEEP_MS_MAX, SLEEP_MS_MIN } from '../../../hosts/guest/limits.ts';
import { Pacer } from '../../../hosts/guest/pacer.ts';
import type { Schedule } from '../../../workloads/schedule.ts';

const steady = (perMs: number): Schedule => ({
  unit: 'operations',
  dueBy: (guestTimeMs) => Math.floor(guestTimeMs * perMs),
});

const rates = fc.double({ min: 0.001, max: 200, noNaN: true });

describe('a pacer', () => {
  test('counts the time in which the guest ran and no pause, whatever their lengths', () => {
    const stretch = fc.record({
      runMs: fc.double({ min: 0, max: BACKLOG_MS_MAX, noNaN: true }),
      pauseMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
    });
    fc.assert(
      fc.property(rates, fc.array(stretch), (rate, stretches) => {
        const pacer = new Pacer(steady(rate));
        let clockMs = 1e6;
        let ranMs = 0;
        for (const { runMs, pauseMs } of stretches) {
          pacer.start(clockMs);
          clockMs += runMs;
          ranMs += runMs;
          pacer.advance(clockMs);
          pacer.done(pacer.backlog());
          pacer.backlog();
          clockMs += pauseMs;
        }
        const { guestTimeMs, unitsDone } = pacer.save();
        expect(guestTimeMs).toBeCloseTo(ranMs, 3);
        expect(unitsDone).toBe(steady(rate).dueBy(guestTimeMs));
      }),
    );
  });

  test('is never ahead of its schedule, and never behind by more than the backlog that it may have', () => {
    const turn = fc.record({ elapsedMs: fc.double({ min: 0, max: 5000, noNaN: true }), most: fc.nat(500) });
    fc.assert(
      fc.property(rates, fc.array(turn), (rate, turns) => {
        const schedule = steady(rate);
        const pacer = new Pacer(schedule);
        let clockMs = 0;
        pacer.start(clockMs);
        for (const { elapsedMs, most } of turns) {
          clockMs += elapsedMs;
          pacer.advance(clockMs);
          const backlog = pacer.backlog();
          if (backlog > 0) pacer.done(Math.min(backlog, most));
          else pacer.sleepMs();
          const { guestTimeMs, unitsDone } = pacer.save();
          expect(unitsDone).toBeLessThanOrEqual(schedule.dueBy(guestTimeMs));
          const oldestMs = Math.max(0, guestTimeMs - BACKLOG_MS_MAX - 1e-6);
          expect(unitsDone).toBeGreaterThanOrEqual(schedule.dueBy(oldestMs));
        }
      }),
    );
  });

  test('sleeps until the next unit is due, within its shortest and longest sleep', () => {
    fc.assert(
      fc.property(rates, fc.double({ min: 0, max: BACKLOG_MS_MAX, noNaN: true }), (rate, ranMs) => {
        const schedule = steady(rate);
        const pacer = new Pacer(schedule);
        pacer.start(0);
        pacer.advance(ranMs);
        pacer.done(pacer.backlog());
        const sleepMs = pacer.sleepMs();
        expect(sleepMs).toBeGreaterThanOrEqual(SLEEP_MS_MIN);
        expect(sleepMs).toBeLessThanOrEqual(SLEEP_MS_MAX);
        const done = schedule.dueBy(ranMs);
        if (sleepMs < SLEEP_MS_MAX) expect(schedule.dueBy(ranMs + sleepMs)).toBeGreaterThan(done);
        if (sleepMs > SLEEP_MS_MIN) expect(schedule.dueBy(ranMs + sleepMs - 0.2)).toBe(done);
      }),
    );
  });

  test('goes on from a saved state as if it had not moved', () => {
    const schedule = steady(3);
    const first = new Pacer(schedule);
    first.start(0);
    first.advance(50);
    first.done(100);
    const second = new Pacer(schedule);
    second.load(first.save());
    second.start(7000);
    second.advance(7010);
    first.advance(60);
    expect(second.save()).toEqual(first.save());
    expect(second.backlog()).toBe(80);
  });
});
