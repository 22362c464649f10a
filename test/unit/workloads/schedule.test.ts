/** When work is due: each sort of schedule, and that the phases of the schedule are those of the workload. */

import { describe, expect, it } from 'vitest';
import { RateUnit } from '../../../proto/generated/godwit/v1/guest.ts';
import { createSchedule, createWorkload } from '../../../workloads/registry.ts';
import { contextOf, RecordingMemory, specOf, traceBytes } from './support.ts';

it('makes nothing due for an idle guest', () => {
  expect(createSchedule(contextOf(specOf('idle'))).dueBy(1e9)).toBe(0);
});

it('makes rate times time due, without drift after a month', () => {
  const schedule = createSchedule(contextOf(specOf('uniform', { rate: 4999.5 })));
  expect(schedule.dueBy(0)).toBe(0);
  expect(schedule.dueBy(1000)).toBe(4999);
  expect(schedule.dueBy(2000)).toBe(9999);
  const monthMs = 30 * 24 * 3_600_000;
  expect(schedule.dueBy(monthMs)).toBe((monthMs / 1000) * 4999.5);
});

it('makes everything due at once for rate 0', () => {
  expect(createSchedule(contextOf(specOf('zipf', { rate: 0 }))).dueBy(0)).toBe(Number.POSITIVE_INFINITY);
});

it('makes nothing due for a guest that only answers requests, whatever its rate', () => {
  const rateUnit = RateUnit.RATE_UNIT_REQUESTS_ONLY;
  for (const kind of ['kv', 'web'] as const) {
    expect(createSchedule(contextOf(specOf(kind, { rate: 5000, rateUnit }))).dueBy(1e9)).toBe(0);
  }
});

it('makes the entries of a trace due at their times', () => {
  const trace = traceBytes([
    [0, 1],
    [1500, 1],
    [1500, 1],
    [4000, 1],
  ]);
  const schedule = createSchedule(contextOf(specOf('trace', { trace })));
  expect([0, 1.4, 1.5, 3.9, 4, 1e6].map((time) => schedule.dueBy(time))).toEqual([1, 1, 3, 3, 4, 4]);
});

it.each([
  ['uniform', RateUnit.RATE_UNIT_UNSPECIFIED, 'page-writes'],
  ['kv', RateUnit.RATE_UNIT_UNSPECIFIED, 'operations'],
  ['kv', RateUnit.RATE_UNIT_PAGES_PER_S, 'page-writes'],
  ['uniform', RateUnit.RATE_UNIT_OPERATIONS_PER_S, 'operations'],
] as const)('counts for %s with the rate unit %d in %s', (kind, rateUnit, unit) => {
  expect(createSchedule(contextOf(specOf(kind, { rateUnit }))).unit).toBe(unit);
});

describe('phased', () => {
  const phase = { workingSetBytes: 0n, hot: 0, theta: 0 };
  const spec = specOf('phased', {
    rate: 1000,
    phases: [
      { ...phase, kind: 'uniform', durationMs: 100, rateFactor: 1, workingSetBytes: 4096n },
      { ...phase, kind: 'idle', durationMs: 50, rateFactor: 1 },
      { ...phase, kind: 'sequential', durationMs: 200, rateFactor: 0.5 },
    ],
  });

  it('makes due what the phases so far add up to, cycle after cycle', () => {
    const { dueBy } = createSchedule(contextOf(spec));
    expect([50, 100, 125, 150, 250, 350].map(dueBy)).toEqual([50, 100, 100, 100, 150, 200]);
    expect([50, 100, 125, 150, 250, 350].map((time) => dueBy(350_000 + time) - 200_000)).toEqual([
      50, 100, 100, 100, 150, 200,
    ]);
  });

  it.each([1, 3])('does in each phase what the phase says, with %d vCPUs', (vcpuCount) => {
    for (let vcpu = 0; vcpu < vcpuCount; vcpu++) {
      const context = contextOf(spec, { vcpu, vcpuCount });
      const workload = createWorkload(context);
      const schedule = createSchedule(context);
      const pagesAt = (guestTimeMs: number) => {
        const memory = new RecordingMemory();
        while (done < schedule.dueBy(guestTimeMs)) {
          workload.operate(memory);
          done++;
        }
        return memory.written;
      };
      let done = 0;
      for (let cycle = 0; cycle < 3; cycle++) {
        const uniform = pagesAt(cycle * 350 + 100);
        const idle = pagesAt(cycle * 350 + 150);
        const sequential = pagesAt(cycle * 350 + 350);
        expect(uniform.length).toBeGreaterThan(0);
        expect(uniform.every((page) => page === 0)).toBe(true);
        expect(idle).toEqual([]);
        expect(sequential.length).toBeGreaterThan(0);
        const first = sequential[0] as number;
        expect(sequential).toEqual(sequential.map((_, index) => first + index));
      }
    }
  });

  it.each([
    {
      rate: 990,
      list: [[25, 30.1] as const, [16.8, 0] as const],
      before: 1671.9999999999993,
      after: 1671.9999999999998,
    },
    { rate: 625, list: [[75.6, 4.8] as const], before: 2267.9999999999995, after: 2268 },
  ])('at rate $rate is not due less at $after ms for rounding', ({ rate, list, before, after }) => {
    const phases = list.map(([durationMs, rateFactor]) => ({
      ...phase,
      kind: 'uniform',
      durationMs,
      rateFactor,
    }));
    const { dueBy } = createSchedule(contextOf(specOf('phased', { rate, phases })));
    expect(dueBy(after)).toBeGreaterThanOrEqual(dueBy(before));
  });

  it('has phases of its own when the spec has none', () => {
    const byDefault = createSchedule(contextOf(specOf('phased')));
    expect(byDefault.dueBy(8000)).toBe(400 + 5000 + 3000);
  });
});
