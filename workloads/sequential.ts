/**
 * Sweeps over the working set, page after page and round again, as a streaming job does. Each vCPU sweeps
 * its own equal part, so that the guest as a whole writes every page once before it writes any twice.
 */

import { savedNumber, savedParts } from './saved-state.ts';
import { workingSetPages } from './working-set.ts';
import type { Workload, WorkloadContext } from './workload.ts';

export function createSequential(context: WorkloadContext): Workload {
  const pages = workingSetPages(context.spec.workingSetBytes, context.pageCount);
  const first = Math.floor((pages * context.vcpu) / context.vcpuCount);
  const end = Math.floor((pages * (context.vcpu + 1)) / context.vcpuCount);
  // With fewer pages than vCPUs, some vCPUs share a page.
  const length = Math.max(1, end - first);
  let position = 0;
  return {
    operate(memory) {
      memory.write(first + position);
      position = position + 1 === length ? 0 : position + 1;
      return 1;
    },
    save: () => [position],
    load(state) {
      position = savedNumber(savedParts(state, 1, 'sequential')[0], length - 1, 'sequential');
    },
  };
}
