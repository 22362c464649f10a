/**
 * The phases of a phased guest as a timeline that repeats: how many units (page writes or operations) the
 * guest has due by a time, and in which phase a unit lies. The schedule asks the first, the workload the
 * second, so that both agree on where a phase ends without the workload having to know the time.
 */

import type { WorkloadPhase, WorkloadSpec } from '../proto/generated/godwit/v1/guest.ts';
import { PAGE_BYTES } from '../proto/page.ts';

/** A share of memory in bytes, rounded down to whole pages, at least one. */
function memoryShare(pageCount: number, share: number): bigint {
  return BigInt(Math.max(1, Math.floor(pageCount * share)) * PAGE_BYTES);
}

/**
 * What a phased guest does when its spec does not say: a kernel build in small. It reads its configuration,
 * compiles (a hot set of compiler and object pages), links (streams over a large part of memory), and waits.
 * The durations and factors are the shape of such a build, not a measurement.
 */
export function defaultPhases(pageCount: number): WorkloadPhase[] {
  const eighth = memoryShare(pageCount, 1 / 8);
  const quarter = memoryShare(pageCount, 1 / 4);
  const half = memoryShare(pageCount, 1 / 2);
  return [
    { kind: 'zipf', durationMs: 1000, rateFactor: 0.4, workingSetBytes: eighth, hot: 0, theta: 0.8 },
    { kind: 'hot-cold', durationMs: 5000, rateFactor: 1, workingSetBytes: quarter, hot: 0.9, theta: 0 },
    { kind: 'sequential', durationMs: 1500, rateFactor: 2, workingSetBytes: half, hot: 0, theta: 0 },
    { kind: 'idle', durationMs: 500, rateFactor: 0, workingSetBytes: 0n, hot: 0, theta: 0 },
  ];
}

/** The spec's phases, or the default ones if it has none. */
export function phasesOf(spec: WorkloadSpec, pageCount: number): WorkloadPhase[] {
  return spec.phases.length > 0 ? spec.phases : defaultPhases(pageCount);
}

/** What an idle phase has due is nothing, whatever its factor. */
export function phaseRateFactor(phase: WorkloadPhase): number {
  return phase.kind === 'idle' ? 0 : phase.rateFactor;
}

export interface PhaseTimeline {
  /** The guest's units due by a guest time; not rounded. */
  unitsBy(guestTimeMs: number): number;
  /** The index of the phase in which the guest's unit with this number (from 1) becomes due. */
  phaseOfUnit(unit: number): number;
}

/** The timeline of these phases at the guest's rate, in units per second. */
export function phaseTimeline(phases: readonly WorkloadPhase[], ratePerS: number): PhaseTimeline {
  const endsMs: number[] = [];
  const endsUnits: number[] = [];
  let cycleMs = 0;
  let cycleUnits = 0;
  for (const phase of phases) {
    cycleMs += phase.durationMs;
    cycleUnits += (phase.durationMs / 1000) * ratePerS * phaseRateFactor(phase);
    endsMs.push(cycleMs);
    endsUnits.push(cycleUnits);
  }
  return {
    unitsBy(guestTimeMs) {
      // Sums are held to their bounds, or rounding could let the units fall where a phase or a cycle ends.
      const cycles = Math.floor(guestTimeMs / cycleMs);
      const intoCycleMs = Math.min(cycleMs, Math.max(0, guestTimeMs - cycles * cycleMs));
      const index = firstReaching(endsMs, intoCycleMs);
      const startMs = endsMs[index - 1] ?? 0;
      const startUnits = endsUnits[index - 1] ?? 0;
      const endUnits = endsUnits[index] as number;
      const intoPhase = (intoCycleMs - startMs) / ((endsMs[index] as number) - startMs);
      const intoCycle = Math.min(endUnits, startUnits + (endUnits - startUnits) * intoPhase);
      return Math.min((cycles + 1) * cycleUnits, cycles * cycleUnits + intoCycle);
    },
    phaseOfUnit(unit) {
      // Unit 0 of a cycle is the last of the one before.
      const intoCycle = unit % cycleUnits || cycleUnits;
      return firstReaching(endsUnits, intoCycle);
    },
  };
}

/** The first index whose end is not below `value`; the last index if there is none. */
function firstReaching(ends: readonly number[], value: number): number {
  let index = 0;
  while (index < ends.length - 1 && (ends[index] as number) < value) index++;
  return index;
}
