/**
 * Writes a working set with the probability `hot`, and the rest of memory otherwise; uniformly in each. The
 * classic model of a writable working set (Clark et al., NSDI 2005): pre-copy converges on the cold part and
 * not on the hot.
 */

import { Random } from './random.ts';
import { workingSetPages } from './working-set.ts';
import type { Workload, WorkloadContext } from './workload.ts';

export function createHotCold(context: WorkloadContext): Workload {
  const hotPages = workingSetPages(context.spec.workingSetBytes, context.pageCount);
  const coldPages = context.pageCount - hotPages;
  const hot = coldPages === 0 ? 1 : context.spec.hot;
  const random = new Random(context.seed, context.vcpu);
  return {
    operate(memory) {
      const isHot = random.fraction() < hot;
      memory.write(isHot ? random.below(hotPages) : hotPages + random.below(coldPages));
      return 1;
    },
    save: () => random.save(),
    load: (state) => random.load(state),
  };
}
