/** Writes pages of the working set with zipfian popularity: no sharp edge between hot and cold pages. */

import { Random } from './random.ts';
import { workingSetPages } from './working-set.ts';
import type { Workload, WorkloadContext } from './workload.ts';
import { createZipfian } from './zipfian.ts';

export function createZipf(context: WorkloadContext): Workload {
  const pages = workingSetPages(context.spec.workingSetBytes, context.pageCount);
  const random = new Random(context.seed, context.vcpu);
  const choose = createZipfian(pages, context.spec.theta, context.seed, random);
  return {
    operate(memory) {
      memory.write(choose());
      return 1;
    },
    save: () => random.save(),
    load: (state) => random.load(state),
  };
}
