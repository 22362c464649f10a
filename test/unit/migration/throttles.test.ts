/**
 * Goal: each rule slows the guest when and as hard as its source says, and tells what it did. Method: a pre-copy that
 * is only told of, over the control block and the counters of a guest that nobody runs.
 */

import { describe, expect, test } from 'vitest';
import { ControlBlock } from '../../../hosts/guest/control-block.ts';
import { quotaWord, throttleWord } from '../../../hosts/guest/control-layout.ts';
import {
  allocateGuest,
  COUNTER_THROTTLED_MS,
  COUNTER_WRITE_FAULTS,
  countersOf,
} from '../../../hosts/guest/shared-guest.ts';
import { PERCENT_STEPS, QUOTA_PERIODS } from '../../../hosts/guest/throttle-control.ts';
import { DecisionLog } from '../../../hosts/migration/precopy/decision-log.ts';
import type { PrecopyView } from '../../../hosts/migration/precopy/precopy-view.ts';
import { quotaOf } from '../../../hosts/migration/precopy/throttles/dirty-limit.ts';
import { throttlesOf } from '../../../hosts/migration/precopy/throttles/registry.ts';
import { Reins } from '../../../hosts/migration/precopy/throttles/reins.ts';
import { fairLevel } from '../../../hosts/migration/precopy/throttles/sdps.ts';
import { DEFAULT_CONVERGENCE, THROTTLES, type ThrottleName } from '../../../proto/convergence.ts';
import { type Convergence, RoundReport } from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { guestSpec } from '../guest/specs.ts';

const PAGE_BYTES = 4096;
const ACCEPTED_MS = 1000;
/** What the link carries. */
const PAGES_PER_S = 30_000;

/** A pre-copy over a link of 30,000 pages/s, as its governors are told of it. */
class ToldPrecopy {
  readonly log = new DecisionLog();
  readonly reins: Reins;
  readonly #shared;
  readonly #governors;
  readonly #rounds: RoundReport[] = [];
  #nowMs = ACCEPTED_MS;
  #roundStartMs = ACCEPTED_MS;
  #sentPages = 0;

  constructor(rule: ThrottleName, changes: Partial<Convergence> = {}, vcpuCount = 1) {
    const convergence = { ...DEFAULT_CONVERGENCE, throttle: THROTTLES.of(rule), ...changes };
    this.#shared = allocateGuest(guestSpec({}, { vcpuCount }));
    // What was counted before the migration is none of its own.
    for (let vcpu = 0; vcpu < vcpuCount; vcpu++) countersOf(this.#shared, vcpu).fill(777);
    const control = new ControlBlock(this.#shared.control, vcpuCount);
    this.reins = Reins.of(this.#shared, control, { ...defaultMigrationOptions('pre-copy'), convergence })!;
    this.#governors = throttlesOf(this.reins, this.log);
  }

  /** Of this round so much time, in which each vCPU dirties so many pages and stands still for so long. */
  passes(durationMs: number, dirtied: readonly number[], throttledMs: readonly number[] = []): void {
    this.#nowMs += durationMs;
    this.#sentPages += (PAGES_PER_S * durationMs) / 1000;
    for (const [vcpu, pages] of dirtied.entries()) {
      const counters = countersOf(this.#shared, vcpu);
      counters[COUNTER_WRITE_FAULTS]! += pages;
      counters[COUNTER_THROTTLED_MS]! += throttledMs[vcpu] ?? 0;
    }
    for (const governor of this.#governors) governor.tick(this.#view());
  }

  /** A round of so much time. */
  round(durationMs: number, dirtied: readonly number[], throttledMs?: readonly number[]): void {
    this.passes(durationMs, dirtied, throttledMs);
    this.roundEnds();
  }

  roundEnds(): void {
    const round = this.#rounds.length + 1;
    this.#rounds.push(RoundReport.fromPartial({ round, startMs: this.#roundStartMs }));
    for (const governor of this.#governors) governor.roundEnded(this.#view());
    this.#roundStartMs = this.#nowMs;
  }

  end(): void {
    for (const governor of this.#governors) governor.end();
  }

  /** What vCPU 0 finds in the control block. */
  get percent(): number {
    return this.#word(throttleWord(0)) / PERCENT_STEPS;
  }

  get quotaPerS(): number {
    const quota = this.#word(quotaWord(0));
    const periodMs = quota % QUOTA_PERIODS;
    return quota === 0 ? 0 : (((quota - periodMs) / QUOTA_PERIODS) * 1000) / periodMs;
  }

  #word(index: number): number {
    return new Int32Array(this.#shared.control)[index] as number;
  }

  #view(): PrecopyView {
    return {
      nowMs: this.#nowMs,
      acceptedAtMs: ACCEPTED_MS,
      pageCount: 65_536,
      rounds: this.#rounds,
      round: this.#rounds.length + 1,
      roundStartMs: this.#roundStartMs,
      roundPages: 0,
      sentPages: this.#sentPages,
      sentBytes: this.#sentPages * PAGE_BYTES,
      dirtyPages: 0,
      bandwidthBytesPerS: this.#rounds.length === 0 ? 0 : PAGES_PER_S * PAGE_BYTES,
      dirtyRatePagesPerS: 0,
      pageBytes: PAGE_BYTES,
    };
  }
}

/** What auto-converge has set after each of so many rounds of 1 s, each of which dirtied so much of what it sent. */
function staircase(share: number, rounds: number, changes: Partial<Convergence> = {}): number[] {
  const told = new ToldPrecopy('auto-converge', changes);
  return Array.from({ length: rounds }, () => {
    told.round(1000, [PAGES_PER_S * share]);
    return told.percent;
  });
}

describe('auto-converge', () => {
  test('slows the guest by 20 % at the second round that dirties more than half, and by 10 % more every two', () => {
    expect(staircase(0.51, 10)).toEqual([0, 20, 20, 30, 30, 40, 40, 50, 50, 60]);
    expect(staircase(0.5, 10)).toEqual(Array(10).fill(0));
  });

  test('goes no further than its maximum, and is silent there', () => {
    expect(staircase(1, 8, { maxCpuThrottle: 35 })).toEqual([0, 20, 20, 30, 30, 35, 35, 35]);
    const told = new ToldPrecopy('auto-converge', { maxCpuThrottle: 30 });
    for (let round = 0; round < 20; round++) told.round(1000, [PAGES_PER_S]);
    expect(told.log.decisions.map(({ value }) => value)).toEqual([20, 30]);
    expect(told.reins.report()).toMatchObject({ rule: 'auto-converge', maxPercent: 30 });
  });

  test('with tailslow goes no further than what is missing', () => {
    // Of 80 % of its vCPUs it should have 80 x 0.5/0.55 = 72.7 %; then 72.7 x 0.5/0.55 = 66.1 %.
    const steps = staircase(0.55, 6, { cpuThrottleTailslow: true });
    expect(steps[1]).toBe(20);
    expect(steps[3]).toBeCloseTo(27.27, 2);
    expect(steps[5]).toBeCloseTo(33.88, 2);
    expect(staircase(2, 4, { cpuThrottleTailslow: true })[3]).toBe(30);
  });

  test('looks at rounds that are a period apart, and takes what lies between together', () => {
    const told = new ToldPrecopy('auto-converge', { throttlePeriodMs: 500 });
    for (let round = 0; round < 9; round++) told.round(100, [PAGES_PER_S / 10]);
    expect(told.percent).toBe(0);
    told.round(100, [0]);
    // 10 rounds are two looks, at each of which at least four of five rounds dirtied what they sent.
    expect(told.percent).toBe(20);
  });

  test('looks inside a long round every five periods, but not inside the first', () => {
    const told = new ToldPrecopy('auto-converge');
    told.passes(20_000, [600_000]);
    told.roundEnds();
    expect(told.percent).toBe(0);
    for (let second = 0; second < 4; second++) told.passes(1000, [PAGES_PER_S]);
    expect(told.percent).toBe(0);
    told.passes(1000, [PAGES_PER_S]);
    expect(told.percent).toBe(20);
  });
});

describe('dirty-limit', () => {
  test('holds each vCPU to its limit from the second look at which too much was dirtied, once and for all', () => {
    const told = new ToldPrecopy('dirty-limit', { vcpuDirtyLimitBytesPerS: 4096 * 5000 });
    told.round(1000, [PAGES_PER_S]);
    expect(told.quotaPerS).toBe(0);
    for (let round = 0; round < 5; round++) told.round(1000, [PAGES_PER_S]);
    expect(told.quotaPerS).toBe(5000);
    expect(told.percent).toBe(0);
    expect(told.log.decisions).toMatchObject([{ rule: 'dirty-limit', value: 4096 * 5000 }]);
  });

  test.each([1, 7, 244, 1000, 30_000, 30_000_000])('keeps to %i pages/s in whole pages', (pagesPerS) => {
    const { pages, periodMs } = quotaOf(pagesPerS);
    const error = Math.abs((pages * 1000) / periodMs - pagesPerS) / pagesPerS;
    expect(error).toBeLessThanOrEqual(0.0625);
    expect(periodMs % 10).toBe(0);
  });
});

describe('SDPS', () => {
  test('has the guest dirty less than is being sent, and follows the link', () => {
    const told = new ToldPrecopy('sdps');
    told.round(2000, [100_000]);
    expect(told.quotaPerS).toBeCloseTo(0.7 * PAGES_PER_S, -3);
    expect(told.log.decisions).toHaveLength(1);
    // The link stands.
    for (let tick = 0; tick < 100; tick++) told.passes(50, [3000]);
    expect(told.quotaPerS).toBeCloseTo(0.7 * PAGES_PER_S, -3);
    expect(told.log.decisions).toHaveLength(1);
  });

  test('does nothing in the first pass', () => {
    const told = new ToldPrecopy('sdps');
    for (let tick = 0; tick < 100; tick++) told.passes(50, [3000]);
    expect(told.quotaPerS).toBe(0);
  });

  test('leaves a guest alone that dirties less than is sent', () => {
    const told = new ToldPrecopy('sdps');
    for (let round = 0; round < 5; round++) told.round(200, [PAGES_PER_S / 10]);
    expect(told.log.decisions).toEqual([]);
    // It has as much as all may have.
    expect(told.quotaPerS).toBeGreaterThan(PAGES_PER_S / 2);
  });

  test('slows the vCPU that dirties most, and knows what it would dirty if it were not slowed', () => {
    const told = new ToldPrecopy('sdps', {}, 2);
    told.round(1000, [1000, 60_000]);
    expect(told.quotaPerS).toBeCloseTo(0.7 * PAGES_PER_S - 1000, -3);
    // It stands still for two thirds of the time: it still wants 60,000.
    for (let tick = 0; tick < 20; tick++) told.passes(50, [50, 1000], [0, 33.3]);
    expect(told.quotaPerS).toBeCloseTo(0.7 * PAGES_PER_S - 1000, -3);
  });

  test('shares fairly: all is given, nobody has more than the level or than it wants', () => {
    expect(fairLevel([10, 20, 70], 60)).toBe(30);
    expect(fairLevel([50, 50], 60)).toBe(30);
    expect(fairLevel([10, 20], 60)).toBe(50);
    expect(fairLevel([0], 60)).toBe(60);
  });
});

test('stunning lets each vCPU take its quota in every tick from the first look on', () => {
  const told = new ToldPrecopy('stunning', { stunQuota: 40 });
  told.round(1000, [PAGES_PER_S / 2]);
  expect(told.quotaPerS).toBe(0);
  told.round(1000, [PAGES_PER_S]);
  expect(told.quotaPerS).toBe(800);
  expect(told.log.decisions).toMatchObject([{ rule: 'stunning', value: 40 }]);
});

describe('every rule', () => {
  const rules = THROTTLES.names.filter((rule) => rule !== 'none');

  test.each(rules)('%s lets go of the guest at the end, says so once, and reports what it did', (rule) => {
    const told = new ToldPrecopy(rule, {}, 2);
    for (let round = 0; round < 4; round++) told.round(1000, [60_000, 10], [400, 0]);
    expect(told.reins.isOn).toBe(true);
    told.end();
    told.end();
    expect(told.reins.isOn).toBe(false);
    const ends = told.log.decisions.filter(({ what }) => what === 'lets go of the guest');
    expect(ends).toHaveLength(1);
    const { maxPercent, ...report } = told.reins.report();
    expect(report).toEqual({ rule, vcpuThrottledMs: [1600, 0], vcpuWriteFaults: [240_000n, 40n] });
    // Of the time of both; auto-converge as it was set.
    expect(maxPercent).toBeCloseTo(rule === 'auto-converge' ? 30 : 20, 0);
  });

  test.each(rules)('%s leaves an idle guest alone', (rule) => {
    const told = new ToldPrecopy(rule);
    for (let round = 0; round < 10; round++) told.round(1000, [0]);
    told.end();
    expect(told.percent).toBe(0);
    expect(told.log.decisions.filter(({ what }) => what !== 'lets go of the guest')).toEqual([]);
  });
});
