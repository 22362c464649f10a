/**
 * A key-value store under the load of YCSB (Cooper et al., SoCC 2010): reads, updates and scans of records
 * chosen with zipfian popularity. One record is one page, because a page write is the unit of the guest's
 * truth. A scan reads records one after the other from the chosen one on, and goes round at the end of the
 * working set. A client's GET reads the record of its key, a SET updates it.
 */

import { RequestOperation } from '../proto/guest-request.ts';
import { Random } from './random.ts';
import { workingSetPages } from './working-set.ts';
import type { Workload, WorkloadContext } from './workload.ts';
import { createZipfian } from './zipfian.ts';

export function createKv(context: WorkloadContext): Workload {
  const records = workingSetPages(context.spec.workingSetBytes, context.pageCount);
  const random = new Random(context.seed, context.vcpu);
  const choose = createZipfian(records, context.spec.theta, context.seed, random);
  const { read, scan, scanLength } = context.spec;
  return {
    operate(memory) {
      const kind = random.fraction();
      const record = choose();
      if (kind < read) {
        memory.read(record);
        return 0;
      }
      if (kind < read + scan) {
        for (let step = 0; step < scanLength; step++) memory.read((record + step) % records);
        return 0;
      }
      memory.write(record);
      return 1;
    },
    answer(memory, { operation, key }) {
      const record = key % records;
      const isSet = operation === RequestOperation.SET;
      if (isSet) memory.write(record);
      return { version: memory.read(record), bodyBytes: 0, pageWrites: isSet ? 1 : 0 };
    },
    save: () => random.save(),
    load: (state) => random.load(state),
  };
}
