/**
 * Writes pages of the working set at random, each as likely as any other: no locality that a migration could
 * use.
 */

import { Random } from './random.ts';
import { workingSetPages } from './working-set.ts';
import type { Workload, WorkloadContext } from './workload.ts';

export function createUniform(context: WorkloadContext): Workload {
  const pages = workingSetPages(context.spec.workingSetBytes, context.pageCount);
  const random = new Random(context.seed, context.vcpu);
  return {
    operate(memory) {
      memory.write(random.below(pages));
      return 1;
    },
    save: () => random.save(),
    load: (state) => random.load(state),
  };
}
