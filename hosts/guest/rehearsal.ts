/**
 * Serves requests of a guest that nobody sees. The first requests at a destination come when a client has
 * waited longest: then the code that serves them should not have to be loaded and compiled. A thread that will
 * serve requests does this while nobody waits.
 */

import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { FLOW_BYTES, NETWORK_LIMITS, workloadPageCount } from '../../proto/guest-network.ts';
import { encodeRequest, RequestOperation } from '../../proto/guest-request.ts';
import { createWorkload } from '../../workloads/registry.ts';
import { RequestServer } from './request-server.ts';
import { allocateGuest } from './shared-guest.ts';
import { VcpuMemory } from './vcpu-memory.ts';
import { Packet, QUEUE, Virtqueue } from './virtqueue.ts';

/** Enough for the code to be compiled, and some milliseconds. */
const ROUNDS = 200;

/** @param spec of a guest that has a network */
export function rehearseRequests(spec: GuestSpec): void {
  const { workload, seed } = spec;
  if (workload === undefined) return;
  const small: GuestSpec = {
    ...spec,
    vcpuCount: 1,
    memoryBytes: BigInt(NETWORK_LIMITS.memoryBytesMin),
    workload: { ...workload, workingSetBytes: 0n },
  };
  const shared = allocateGuest(small);
  const pageCount = workloadPageCount(small);
  const extra = createWorkload({ spec: small.workload!, seed, pageCount, vcpu: 0, vcpuCount: 1 });
  const server = new RequestServer(shared, extra, new VcpuMemory(shared, 0));
  const requests = new Virtqueue(shared, QUEUE.REQUESTS);
  const responses = new Virtqueue(shared, QUEUE.RESPONSES);
  const flow = new Uint8Array(FLOW_BYTES);
  const packet = new Packet();
  for (let round = 0; round < ROUNDS; round++) {
    const operation = round % 2 === 0 ? RequestOperation.GET : RequestOperation.SET;
    requests.put(flow, encodeRequest({ operation, key: round, number: BigInt(round) }));
    server.serve();
    responses.take(packet);
  }
}
