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

/** The workloads whose requests this thread has rehearsed. */
const rehearsed = new Set<string>();

/**
 * Nothing the second time.
 *
 * @param kind of a workload that answers requests
 */
export function rehearseRequests(kind: string): void {
  if (rehearsed.has(kind)) return;
  rehearsed.add(kind);
  const spec = guestSpec(kind);
  const shared = allocateGuest(spec);
  const pageCount = workloadPageCount(spec);
  const extra = createWorkload({ spec: spec.workload!, seed: 0n, pageCount, vcpu: 0, vcpuCount: 1 });
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

/** The smallest guest that has a network. */
function guestSpec(kind: string): GuestSpec {
  return {
    name: 'rehearsal',
    memoryBytes: BigInt(NETWORK_LIMITS.memoryBytesMin),
    vcpuCount: 1,
    deviceStateBytes: 0n,
    seed: 0n,
    content: undefined,
    workload: {
      kind,
      rate: 0,
      rateUnit: 0,
      workingSetBytes: 0n,
      hot: 1,
      theta: 0.5,
      read: 0.5,
      scan: 0,
      scanLength: 1,
      phases: [],
      pagesPerRequest: 4,
      responseBytes: 256,
      trace: Buffer.alloc(0),
    },
    network: { address: '', port: 0, forwarder: '', token: '', announce: undefined },
  };
}
