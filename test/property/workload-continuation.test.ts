/**
 * Properties of workloads and schedules that a migration leans on, for any seed, moment and number of vCPUs.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WORKLOADS } from '../../proto/names.ts';
import { createSchedule, createWorkload } from '../../workloads/registry.ts';
import { contextOf, record, SAMPLE_SPECS, specOf } from '../unit/workloads/support.ts';

const seed = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const place = fc
  .integer({ min: 1, max: 8 })
  .chain((vcpuCount) => fc.record({ vcpu: fc.nat(vcpuCount - 1), vcpuCount: fc.constant(vcpuCount) }));

describe.each(WORKLOADS)('%s', (kind) => {
  it('goes on over any number of moves at any moments as if it had stayed', () => {
    const stays = fc.array(fc.nat(400), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(seed, place, stays, (guestSeed, vcpuPlace, operationCounts) => {
        const context = contextOf(SAMPLE_SPECS[kind], { seed: guestSeed, ...vcpuPlace });
        const total = operationCounts.reduce((sum, count) => sum + count);
        const stayed = record(createWorkload(context), total);
        let workload = createWorkload(context);
        const written: number[] = [];
        for (const count of operationCounts) {
          written.push(...record(workload, count).written);
          const next = createWorkload(context);
          next.load(workload.save());
          workload = next;
        }
        expect(written).toEqual(stayed.written);
      }),
      { numRuns: 25 },
    );
  });
});

// Round numbers make phases end at whole units, where rounding shows.
const tenths = fc.integer({ min: 10, max: 1000 }).map((count) => count / 10);
const rate = fc.oneof(tenths, fc.double({ min: 0.001, max: 10_000_000, noNaN: true }));
const timesMs = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 2, maxLength: 30 });
const phases = fc.array(
  fc.record({
    kind: fc.constantFrom('idle', 'uniform'),
    durationMs: fc.oneof(tenths, fc.double({ min: 1, max: 3_600_000, noNaN: true })),
    rateFactor: fc.oneof(tenths, fc.double({ min: 0, max: 1000, noNaN: true })),
    workingSetBytes: fc.constant(0n),
    hot: fc.constant(0),
    theta: fc.constant(0),
  }),
  { minLength: 1, maxLength: 6 },
);

/** The ends of phases in some cycles and their neighbours, where rounding could make a count fall. */
function phaseEndsMs(durationsMs: readonly number[]): number[] {
  const cycleMs = durationsMs.reduce((sum, durationMs) => sum + durationMs);
  let endMs = 0;
  return durationsMs.flatMap((durationMs) => {
    endMs += durationMs;
    const ends = [0, 1, 2, 7, 1000].map((cycles) => cycles * cycleMs + endMs);
    return ends.flatMap((end) => [-2, -1, 0, 1, 2].map((steps) => end * (1 + steps * Number.EPSILON)));
  });
}

it.each(['uniform', 'phased'] as const)('%s is never due less later, on any number of vCPUs', (kind) => {
  fc.assert(
    fc.property(rate, phases, timesMs, fc.integer({ min: 1, max: 8 }), (perS, list, moments, vcpuCount) => {
      const spec = specOf(kind, { rate: perS, phases: list });
      const guest = createSchedule(contextOf(spec));
      const vcpus = Array.from({ length: vcpuCount }, (_, vcpu) =>
        createSchedule(contextOf(spec, { vcpu, vcpuCount })),
      );
      const ends = phaseEndsMs(list.map((phase) => phase.durationMs));
      let last = 0;
      for (const moment of [...moments, ...ends].toSorted((a, b) => a - b)) {
        const due = guest.dueBy(moment);
        expect(due).toBeGreaterThanOrEqual(last);
        // At 2^53 units numbers have gaps; no guest lives for so long.
        if (!Number.isSafeInteger(due + vcpuCount)) break;
        expect(vcpus.reduce((sum, schedule) => sum + schedule.dueBy(moment), 0)).toBe(due);
        last = due;
      }
    }),
    { numRuns: 200 },
  );
});
