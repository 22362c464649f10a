/**
 * One timed run of a workload's loop over guest memory with or without the write barrier, in a process of its own: two
 * memories in one process would share compiled code that neither has in a guest. Prints nanoseconds per write.
 */

import { nowMs } from '../hosts/clock.ts';
import { allocateGuest } from '../hosts/guest/shared-guest.ts';
import { UntrackedMemory, VcpuMemory } from '../hosts/guest/vcpu-memory.ts';
import { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import { createUniform } from '../workloads/uniform.ts';

const MEMORY_BYTES = 256n * 1024n * 1024n;
const WARM_UP_WRITES = 2_000_000;
const WRITES = 8_000_000;
const NS_PER_MS = 1e6;

const spec = GuestSpec.fromPartial({
  name: 'barrier',
  memoryBytes: MEMORY_BYTES,
  vcpuCount: 1,
  content: {},
  workload: { kind: 'uniform' },
});
const shared = allocateGuest(spec);
const memory = process.argv[2] === 'tracked' ? new VcpuMemory(shared, 0) : new UntrackedMemory(shared, 0);
const workload = createUniform({
  spec: spec.workload!,
  seed: 1n,
  pageCount: memory.pageCount,
  vcpu: 0,
  vcpuCount: 1,
});
// Every page is touched once, so that neither the kernel's page faults nor the barrier's slow path is timed.
for (let page = 0; page < memory.pageCount; page++) memory.write(page);
for (let write = 0; write < WARM_UP_WRITES; write++) workload.operate(memory);
const startMs = nowMs();
for (let write = 0; write < WRITES; write++) workload.operate(memory);
console.log(((nowMs() - startMs) * NS_PER_MS) / WRITES);
