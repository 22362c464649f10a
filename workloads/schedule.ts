/**
 * When a vCPU's work is due: the count of units due by a guest time (the time during which the guest ran,
 * since it first started; pauses are left out). A pure function of the time, so that a vCPU that was late
 * catches up and nothing drifts, and so that the destination of a migration goes on where the source
 * stopped.
 *
 * A guest's units are dealt out to its vCPUs in turn: vCPU k has floor((units + k) / vCPUs) of them, which
 * sums to exactly the guest's units (Hermite's identity).
 */

import { ANSWERING_WORKLOADS } from '../proto/names.ts';
import { RateUnit } from '../proto/rate-unit.ts';
import { phasesOf, phaseTimeline } from './phases.ts';
import { readTrace } from './trace.ts';
import type { WorkloadContext } from './workload.ts';

export interface Schedule {
  /** What `dueBy` counts: page writes, or calls of `operate`. */
  readonly unit: 'page-writes' | 'operations';
  /**
   * The units that this vCPU must have done by a guest time (0 or more), whole and never falling; Infinity
   * means that it goes as fast as it can.
   */
  readonly dueBy: (guestTimeMs: number) => number;
}

export type ScheduleFactory = (context: WorkloadContext) => Schedule;

/** Nothing is ever due. */
export function idleSchedule(): Schedule {
  return { unit: 'page-writes', dueBy: () => 0 };
}

/** The spec's rate, always; nothing when it is only for clients. */
export function constantSchedule(context: WorkloadContext): Schedule {
  const { rate } = context.spec;
  if (context.spec.rateUnit === RateUnit.RATE_UNIT_REQUESTS_ONLY) return idleSchedule();
  const unit = rateUnit(context);
  if (rate === 0) return { unit, dueBy: () => Number.POSITIVE_INFINITY };
  return { unit, dueBy: (guestTimeMs) => vcpuShare((guestTimeMs * rate) / 1000, context) };
}

/** The spec's rate times the present phase's factor. */
export function phasedSchedule(context: WorkloadContext): Schedule {
  const { spec, pageCount } = context;
  const timeline = phaseTimeline(phasesOf(spec, pageCount), spec.rate);
  return {
    unit: rateUnit(context),
    dueBy: (guestTimeMs) => vcpuShare(timeline.unitsBy(guestTimeMs), context),
  };
}

/** Each entry of the trace at its time. */
export function traceSchedule(context: WorkloadContext): Schedule {
  const { timesUs } = readTrace(context.spec.trace, context.vcpu, context.vcpuCount);
  return { unit: 'page-writes', dueBy: (guestTimeMs) => countUpTo(timesUs, guestTimeMs * 1000) };
}

/** The unit of the spec's rate; if it has none, operations for those whose operations are not one write each. */
function rateUnit(context: WorkloadContext): Schedule['unit'] {
  switch (context.spec.rateUnit) {
    case RateUnit.RATE_UNIT_OPERATIONS_PER_S:
      return 'operations';
    case RateUnit.RATE_UNIT_PAGES_PER_S:
      return 'page-writes';
    case RateUnit.RATE_UNIT_REQUESTS_ONLY:
    case RateUnit.RATE_UNIT_UNSPECIFIED:
      return countsOperations(context.spec.kind) ? 'operations' : 'page-writes';
  }
}

function countsOperations(kind: string): boolean {
  return (ANSWERING_WORKLOADS as readonly string[]).includes(kind);
}

function vcpuShare(units: number, context: WorkloadContext): number {
  return Math.floor((Math.floor(units) + context.vcpu) / context.vcpuCount);
}

/** How many of the rising `times` are at most `limit`. */
function countUpTo(times: Uint32Array, limit: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] as number) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
