/**
 * Changes its behaviour over time, as a kernel build does: a list of phases, each another workload at
 * another rate, over and over. The phase of an operation follows from the operation's number and the
 * schedule (phases.ts), so the sequence of operations is the same however late the vCPU is.
 */

import type { PHASE_WORKLOADS } from '../proto/names.ts';
import { createHotCold } from './hot-cold.ts';
import { createIdle } from './idle.ts';
import { phasesOf, phaseTimeline } from './phases.ts';
import { savedNumber, savedParts } from './saved-state.ts';
import { createSequential } from './sequential.ts';
import { createUniform } from './uniform.ts';
import type { Workload, WorkloadContext, WorkloadFactory } from './workload.ts';
import { createZipf } from './zipf.ts';

type PhaseKind = (typeof PHASE_WORKLOADS)[number];

const PHASE_FACTORIES: Record<PhaseKind, WorkloadFactory> = {
  idle: createIdle,
  uniform: createUniform,
  sequential: createSequential,
  'hot-cold': createHotCold,
  zipf: createZipf,
};

export function createPhased(context: WorkloadContext): Workload {
  const { spec, pageCount, vcpu, vcpuCount } = context;
  const phases = phasesOf(spec, pageCount);
  const timeline = phaseTimeline(phases, spec.rate);
  const workloads = phases.map((phase, index) => {
    const { kind, workingSetBytes, hot, theta } = phase;
    // Phases draw unrelated numbers, even when they are of one kind.
    const seed = context.seed ^ (BigInt(index + 1) << 40n);
    const phaseContext = { ...context, seed, spec: { ...spec, kind, workingSetBytes, hot, theta } };
    return PHASE_FACTORIES[kind as PhaseKind](phaseContext);
  });
  let operations = 0;
  return {
    operate(memory) {
      operations++;
      // The number among all of the guest's operations: the inverse of the schedule's dealing out to vCPUs.
      const unit = operations * vcpuCount - vcpu;
      return (workloads[timeline.phaseOfUnit(unit)] as Workload).operate(memory);
    },
    save: () => [operations, workloads.map((workload) => workload.save())],
    load(state) {
      const [count, states] = savedParts(state, 2, 'phased');
      const parts = savedParts(states, workloads.length, 'phased');
      operations = savedNumber(count, Number.MAX_SAFE_INTEGER, 'phased');
      for (const [index, workload] of workloads.entries()) workload.load(parts[index]);
    },
  };
}
