/**
 * A workload: what one vCPU of a guest does, as a deterministic sequence of operations. Each kind is one
 * file with a factory, entered in registry.ts. A workload knows no time and no thread: the vCPU calls
 * `operate` when an operation is due (schedule.ts says how many are), and keeps `save()`'s state in the
 * device state that a migration moves.
 */

import type { WorkloadSpec } from '../proto/generated/godwit/v1/guest.ts';
import type { GuestRequest } from '../proto/guest-request.ts';
import type { GuestMemory } from './guest-memory.ts';

/** What a factory is given: everything that decides the sequence of operations. */
export interface WorkloadContext {
  readonly spec: WorkloadSpec;
  readonly seed: bigint;
  readonly pageCount: number;
  /** This vCPU's place among the guest's, from 0. */
  readonly vcpu: number;
  readonly vcpuCount: number;
}

export interface Workload {
  /** Does one operation; answers how many page writes it made. At most some 50 microseconds of work. */
  operate(memory: GuestMemory): number;
  /**
   * Does what a client asks for; at most some 50 microseconds of work. Only workloads that answer have it
   * (ANSWERING_WORKLOADS).
   *
   * @param body where the response's body goes: room for RESPONSE_BODY_BYTES_MAX bytes
   */
  answer?(memory: GuestMemory, request: GuestRequest, body: Buffer): Answer;
  /** What `operate` depends on besides the context: plain numbers, bigints, strings and arrays of them. */
  save(): unknown;
  /** Goes on from what `save` answered, on another host. Refuses what it cannot have answered. */
  load(state: unknown): void;
}

export interface Answer {
  /** Of the key's page after the operation. */
  readonly version: number;
  /** How much of `body` was filled. */
  readonly bodyBytes: number;
  readonly pageWrites: number;
}

export type WorkloadFactory = (context: WorkloadContext) => Workload;

/** The fields of a WorkloadSpec that a kind may use. The unit of the rate goes with `rate`. */
export type WorkloadField = Exclude<keyof WorkloadSpec, 'kind' | 'rateUnit'>;
