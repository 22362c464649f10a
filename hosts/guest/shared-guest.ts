/**
 * A guest as its threads share it: one set of SharedArrayBuffers, passed to each worker thread once, by
 * structured clone. No byte of it is ever sent in a message. Each buffer's writers and readers are stated
 * here; the control block has a file of its own (control-layout.ts).
 */

import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { GUEST_LIMITS } from '../../proto/guest-spec.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { CONTROL_BYTES, initializeControl } from './control-layout.ts';
import { FAULT_STATISTICS_BYTES } from './fault-statistics.ts';
import { FREE_LIST_BYTES } from './free-list-layout.ts';
import { PAGE_PRESENT } from './page-table.ts';

/** The room for one vCPU's saved state: a uint32 length and that many bytes of MessagePack. */
export const VCPU_STATE_BYTES = 64 * 1024;
const LENGTH_BYTES = 4;

/** The doubles of one vCPU in `counters`: a cache line, so that vCPUs do not slow each other down. */
export const COUNTER_STRIDE = 8;
export const COUNTER_OPERATIONS = 0;
export const COUNTER_PAGE_WRITES = 1;
/** Pages that it has dirtied: write faults, first writes after the mark was cleared. */
export const COUNTER_WRITE_FAULTS = 2;
/** How long it stood still because it was slowed. */
export const COUNTER_THROTTLED_MS = 3;

export interface SharedGuest {
  readonly spec: GuestSpec;
  /**
   * The pages. Written by vCPUs (each its own lanes, stamp.ts), by fill.ts before they run, by an incoming
   * mover. The last pages of a guest with a network: by the NIC's thread and vCPU 0 (virtqueue.ts).
   */
  readonly memory: SharedArrayBuffer;
  /** One byte per page, filled up with zeroes to a multiple of 8 (page-table.ts). */
  readonly pageTable: SharedArrayBuffer;
  /** Commands, states and epochs (control-layout.ts). */
  readonly control: SharedArrayBuffer;
  /**
   * Uint32, vCPU-major (vcpu * pageCount + page): page writes made on this host. Each vCPU writes its own
   * part; others read it while the vCPU is parked.
   */
  readonly writes: SharedArrayBuffer;
  /**
   * Uint32, the same order: lane versions when the guest left its last host; zero at its first. Written once.
   */
  readonly base: SharedArrayBuffer;
  /**
   * VCPU_STATE_BYTES per vCPU: written by the vCPU before it parks, or by an incoming mover before it first
   * runs.
   */
  readonly vcpuStates: SharedArrayBuffer;
  /**
   * Float64, COUNTER_STRIDE per vCPU: what it has done since the guest came to this host (COUNTER_*). Each vCPU
   * writes its own line; statistics read it at any time, without ordering.
   */
  readonly counters: SharedArrayBuffer;
  /**
   * FAULT_STATISTICS_BYTES per vCPU (fault-statistics.ts): how long each vCPU waited for missing pages. As
   * `counters`.
   */
  readonly faults: SharedArrayBuffer;
  /** The kernel's free pages, and what a migration asks about them (free-list.ts, free-reports.ts). */
  readonly freeList: SharedArrayBuffer;
}

/** A vCPU's own line of `counters`. */
export function countersOf({ counters }: SharedGuest, vcpu: number): Float64Array<SharedArrayBuffer> {
  const lineBytes = COUNTER_STRIDE * Float64Array.BYTES_PER_ELEMENT;
  return new Float64Array(counters, vcpu * lineBytes, COUNTER_STRIDE);
}

/** How many pages a guest has. */
export function pageCountOf(spec: GuestSpec): number {
  return Number(spec.memoryBytes / BigInt(PAGE_BYTES));
}

/**
 * Reserves everything that a guest needs, zeroed, with every page present and no page dirty; its vCPUs are
 * held. The system gives the memory page by page when it is first touched.
 *
 * @throws when the address space or the memory for it cannot be had
 */
export function allocateGuest(spec: GuestSpec): SharedGuest {
  const pageCount = pageCountOf(spec);
  const { vcpuCountMin, vcpuCountMax } = GUEST_LIMITS;
  if (!(spec.vcpuCount >= vcpuCountMin && spec.vcpuCount <= vcpuCountMax)) {
    throw new Error(
      `making room for guest ${spec.name}: ${spec.vcpuCount} vCPUs; ` +
        `allowed is ${vcpuCountMin} to ${vcpuCountMax}`,
    );
  }
  const reserve = (what: string, bytes: number): SharedArrayBuffer => {
    try {
      return new SharedArrayBuffer(bytes);
    } catch (cause) {
      throw new Error(
        `making room for guest ${spec.name}: this host cannot reserve ${bytes} bytes for its ${what}; ` +
          'use a smaller guest, or a host with more free memory',
        { cause },
      );
    }
  };
  const ledgerBytes = spec.vcpuCount * pageCount * Uint32Array.BYTES_PER_ELEMENT;
  const shared: SharedGuest = {
    spec,
    memory: reserve('memory', pageCount * PAGE_BYTES),
    pageTable: reserve('page table', Math.ceil(pageCount / 8) * 8),
    control: reserve('control block', CONTROL_BYTES),
    writes: reserve('count of writes', ledgerBytes),
    base: reserve('ledger', ledgerBytes),
    vcpuStates: reserve('vCPU states', spec.vcpuCount * VCPU_STATE_BYTES),
    counters: reserve('counters', spec.vcpuCount * COUNTER_STRIDE * Float64Array.BYTES_PER_ELEMENT),
    faults: reserve('statistics of faults', spec.vcpuCount * FAULT_STATISTICS_BYTES),
    freeList: reserve('free list', FREE_LIST_BYTES),
  };
  new Uint8Array(shared.pageTable, 0, pageCount).fill(PAGE_PRESENT);
  initializeControl(shared.control);
  return shared;
}

/** A copy of a vCPU's saved state; empty when none was saved. The vCPU is parked. */
export function readVcpuState(shared: SharedGuest, vcpu: number): Uint8Array<ArrayBuffer> {
  const offset = vcpu * VCPU_STATE_BYTES;
  const length = new DataView(shared.vcpuStates).getUint32(offset, true);
  return new Uint8Array(shared.vcpuStates, offset + LENGTH_BYTES, length).slice();
}

/**
 * Puts down a vCPU's state, for itself to load when it next starts on another host. The vCPU is parked, or
 * the caller.
 *
 * @throws when it is larger than its place
 */
export function writeVcpuState(shared: SharedGuest, vcpu: number, state: Uint8Array): void {
  const room = VCPU_STATE_BYTES - LENGTH_BYTES;
  if (state.byteLength > room) {
    throw new Error(
      `saving vCPU ${vcpu}: its state is ${state.byteLength} bytes; allowed is at most ${room}`,
    );
  }
  const offset = vcpu * VCPU_STATE_BYTES;
  new Uint8Array(shared.vcpuStates, offset + LENGTH_BYTES, state.byteLength).set(state);
  new DataView(shared.vcpuStates).setUint32(offset, state.byteLength, true);
}
