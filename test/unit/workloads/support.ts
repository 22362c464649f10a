/**
 * What the tests of workloads share: a spec of each kind for a small guest, and a memory that only records.
 */

import { WorkloadSpec } from '../../../proto/generated/godwit/v1/guest.ts';
import type { WorkloadKind } from '../../../proto/names.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import type { GuestMemory } from '../../../workloads/guest-memory.ts';
import { WORKLOAD_REGISTRY } from '../../../workloads/registry.ts';
import type { Workload, WorkloadContext } from '../../../workloads/workload.ts';

export const PAGE_COUNT = 1024;
export const WORKING_SET_PAGES = 256;

/** A spec of a kind with the registry's defaults, but for these fields. */
export function specOf(kind: WorkloadKind, fields: Partial<WorkloadSpec> = {}): WorkloadSpec {
  return { ...WorkloadSpec.create(), kind, ...WORKLOAD_REGISTRY[kind].defaults, ...fields };
}

/** The bytes of a trace with these times in microseconds and pages. */
export function traceBytes(entries: readonly (readonly [timeUs: number, page: number])[]): Buffer {
  const bytes = Buffer.alloc(entries.length * 8);
  for (const [index, [timeUs, page]] of entries.entries()) {
    bytes.writeUInt32LE(timeUs, index * 8);
    bytes.writeUInt32LE(page, index * 8 + 4);
  }
  return bytes;
}

const workingSetBytes = BigInt(WORKING_SET_PAGES * PAGE_BYTES);
const entries = Array.from({ length: 5000 }, (_, index) => [index * 100, (index * 7) % PAGE_COUNT] as const);

/** A spec of each kind that uses whatever the kind can use, for a guest of PAGE_COUNT pages. */
export const SAMPLE_SPECS: Readonly<Record<WorkloadKind, WorkloadSpec>> = {
  idle: specOf('idle'),
  uniform: specOf('uniform', { workingSetBytes }),
  sequential: specOf('sequential', { workingSetBytes }),
  'hot-cold': specOf('hot-cold', { workingSetBytes }),
  zipf: specOf('zipf', { workingSetBytes }),
  phased: specOf('phased', {
    phases: [
      { kind: 'uniform', durationMs: 30, rateFactor: 1, workingSetBytes, hot: 0, theta: 0 },
      { kind: 'hot-cold', durationMs: 20, rateFactor: 2.5, workingSetBytes, hot: 0.8, theta: 0 },
      { kind: 'idle', durationMs: 10, rateFactor: 3, workingSetBytes: 0n, hot: 0, theta: 0 },
      { kind: 'sequential', durationMs: 25, rateFactor: 0.3, workingSetBytes, hot: 0, theta: 0 },
      { kind: 'zipf', durationMs: 40, rateFactor: 1, workingSetBytes, hot: 0, theta: 0.9 },
    ],
  }),
  kv: specOf('kv', { workingSetBytes, read: 0.4, scan: 0.1, scanLength: 5 }),
  trace: specOf('trace', { trace: traceBytes(entries) }),
  web: specOf('web', { workingSetBytes, pagesPerRequest: 5 }),
};

/** The context of a vCPU; by default the only one of a guest of PAGE_COUNT pages with seed 1. */
export function contextOf(spec: WorkloadSpec, changes: Partial<WorkloadContext> = {}): WorkloadContext {
  return { spec, seed: 1n, pageCount: PAGE_COUNT, vcpu: 0, vcpuCount: 1, ...changes };
}

/** A memory that remembers the pages written and read, in order. */
export class RecordingMemory implements GuestMemory {
  readonly pageCount = PAGE_COUNT;
  readonly written: number[] = [];
  readonly reads: number[] = [];

  write(page: number): void {
    this.written.push(page);
  }

  read(page: number): number {
    this.reads.push(page);
    return 0;
  }
}

/** Does so many operations; answers what they wrote and read, and how many writes each said that it made. */
export function record(workload: Workload, operationCount: number) {
  const memory = new RecordingMemory();
  const writeCounts: number[] = [];
  for (let index = 0; index < operationCount; index++) writeCounts.push(workload.operate(memory));
  return { written: memory.written, reads: memory.reads, writeCounts };
}
