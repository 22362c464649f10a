/**
 * Replays recorded page writes. The entries are dealt to the vCPUs in turn; when they are due is the
 * schedule's business. After its last entry the workload does nothing.
 */

import { savedNumber, savedParts } from './saved-state.ts';
import type { Workload, WorkloadContext } from './workload.ts';

/** An entry is two little-endian uint32: microseconds since the guest's start, and a page. */
export const TRACE_ENTRY_BYTES = 8;

export interface Trace {
  readonly timesUs: Uint32Array;
  readonly pages: Uint32Array;
}

/** The entries of a trace with index % vcpuCount === vcpu; all of them for the only vCPU of one. */
export function readTrace(bytes: Uint8Array, vcpu = 0, vcpuCount = 1): Trace {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const total = Math.floor(bytes.byteLength / TRACE_ENTRY_BYTES);
  const count = Math.max(0, Math.ceil((total - vcpu) / vcpuCount));
  const timesUs = new Uint32Array(count);
  const pages = new Uint32Array(count);
  for (let index = 0; index < count; index++) {
    const offset = (vcpu + index * vcpuCount) * TRACE_ENTRY_BYTES;
    timesUs[index] = view.getUint32(offset, true);
    pages[index] = view.getUint32(offset + 4, true);
  }
  return { timesUs, pages };
}

export function createTrace(context: WorkloadContext): Workload {
  const { pages } = readTrace(context.spec.trace, context.vcpu, context.vcpuCount);
  let next = 0;
  return {
    operate(memory) {
      if (next === pages.length) return 0;
      memory.write(pages[next] as number);
      next++;
      return 1;
    },
    save: () => [next],
    load(state) {
      next = savedNumber(savedParts(state, 1, 'trace')[0], pages.length, 'trace');
    },
  };
}
