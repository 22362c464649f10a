/**
 * What a guest's thread (guest-thread.ts) does as one vCPU: safepoint, a rest if it is slowed, the requests of clients
 * that wait, a batch of the operations that are due, sleep until the next is due. It begins parked, and loads the state
 * that came with the guest, if any, when it first runs. It ends by command; an error ends it too, and its owner
 * (guest.ts) hears of it.
 */

import { workloadPageCount } from '../../proto/guest-network.ts';
import { createSchedule, createWorkload } from '../../workloads/registry.ts';
import type { Schedule } from '../../workloads/schedule.ts';
import type { Workload, WorkloadContext } from '../../workloads/workload.ts';
import { nowMs } from '../clock.ts';
import { GuestKernel, KERNEL_VCPU } from './guest-kernel.ts';
import { BATCH_MS_MAX, BATCH_OPERATIONS_MAX, SLEEP_MS_MIN } from './limits.ts';
import { SERVING_VCPU } from './nic-control.ts';
import { Pacer } from './pacer.ts';
import { rehearseRequests } from './rehearsal.ts';
import { RequestServer } from './request-server.ts';
import {
  COUNTER_OPERATIONS,
  COUNTER_PAGE_WRITES,
  countersOf,
  readVcpuState,
  type SharedGuest,
  writeVcpuState,
} from './shared-guest.ts';
import { VcpuControl } from './vcpu-control.ts';
import { VcpuEnded } from './vcpu-faults.ts';
import { VcpuMemory } from './vcpu-memory.ts';
import { decodeVcpuState, encodeVcpuState } from './vcpu-state.ts';
import { VcpuThrottle } from './vcpu-throttle.ts';
import type { VcpuWork } from './worker-messages.ts';

/** What is to be done at once by a vCPU that is to stand still. */
const NOTHING = (): boolean => false;

class Vcpu {
  readonly #shared: SharedGuest;
  readonly #index: number;
  readonly #control: VcpuControl;
  readonly #memory: VcpuMemory;
  readonly #workload: Workload;
  readonly #unit: Schedule['unit'];
  readonly #pacer: Pacer;
  /** On the vCPU that serves the guest's NIC. */
  readonly #server: RequestServer | undefined;
  /** On vCPU 0 of a guest that has free pages. */
  readonly #kernel: GuestKernel | undefined;
  readonly #hasWork = (): boolean => (this.#server?.hasWork ?? false) || (this.#kernel?.isAsked ?? false);
  readonly #counters: Float64Array<SharedArrayBuffer>;
  readonly #throttle: VcpuThrottle;
  /** What the guest had done when it came to this host. */
  #operationsBefore = 0;
  #pageWritesBefore = 0;
  #batchOperations = 1;
  #hasRun = false;

  constructor(shared: SharedGuest, index: number) {
    const { spec } = shared;
    if (spec.workload === undefined) {
      throw new Error(`guest ${spec.name}: its spec has no workload; send one, of kind idle if need be`);
    }
    const context: WorkloadContext = {
      spec: spec.workload,
      seed: spec.seed,
      pageCount: workloadPageCount(spec),
      vcpu: index,
      vcpuCount: spec.vcpuCount,
    };
    const schedule = createSchedule(context);
    this.#shared = shared;
    this.#index = index;
    this.#control = new VcpuControl(shared.control, index);
    this.#memory = new VcpuMemory(shared, index, this.#control);
    this.#workload = createWorkload(context);
    this.#unit = schedule.unit;
    this.#pacer = new Pacer(schedule);
    if (spec.network !== undefined && index === SERVING_VCPU) {
      this.#server = new RequestServer(shared, this.#workload, this.#memory);
    }
    if (index === KERNEL_VCPU) this.#kernel = GuestKernel.of(shared, this.#memory);
    this.#counters = countersOf(shared, index);
    this.#throttle = new VcpuThrottle(shared, index);
  }

  run(): void {
    this.#warmUp();
    try {
      if (this.#park(nowMs())) this.#execute();
    } catch (error) {
      // The guest was ended while it waited for a page.
      if (!(error instanceof VcpuEnded)) throw error;
    }
    this.#control.retire();
  }

  #execute(): void {
    for (;;) {
      if (!this.#control.safepoint() && !this.#pause()) return;
      if (this.#standStill()) continue;
      if (this.#serve() && !this.#control.safepoint() && !this.#pause()) return;
      if (this.#keepPages() && !this.#control.safepoint() && !this.#pause()) return;
      const startMs = nowMs();
      this.#pacer.advance(startMs);
      const backlog = this.#pacer.backlog();
      if (backlog > 0) {
        const waitedMs = this.#memory.waitedMs;
        this.#runBatch(backlog);
        this.#adaptBatch(nowMs() - startMs - (this.#memory.waitedMs - waitedMs));
      } else {
        this.#control.sleep(Math.min(this.#sleepMs(), this.#throttle.idleMsMax()), this.#hasWork);
      }
    }
  }

  /** Stands still if it is slowed and time for that; guest time does, too. Whether it did: a safepoint must follow. */
  #standStill(): boolean {
    const throttle = this.#throttle;
    if (!throttle.isOn()) return false;
    const startMs = nowMs();
    const dueMs = throttle.dueMs(startMs);
    if (dueMs <= 0) return false;
    this.#pacer.advance(startMs);
    this.#control.sleep(dueMs, NOTHING);
    const endMs = nowMs();
    this.#pacer.start(endMs);
    throttle.stoodStill(startMs, endMs);
    return true;
  }

  /**
   * Answers what clients ask for, before what the workload does of its own accord. Whether there was anything.
   */
  #serve(): boolean {
    const server = this.#server;
    if (server === undefined || !server.hasWork) return false;
    server.serve();
    this.#count(server.servedCount, server.pageWrites);
    this.#control.ringNic();
    return true;
  }

  /** How long neither the workload nor the kernel has anything to do. */
  #sleepMs(): number {
    const kernelMs = this.#kernel?.sleepMs(this.#pacer.guestTimeMs) ?? Number.POSITIVE_INFINITY;
    return Math.min(this.#pacer.sleepMs(), Math.max(kernelMs, SLEEP_MS_MIN));
  }

  /** What the kernel does. Whether there was anything. */
  #keepPages(): boolean {
    if (this.#kernel === undefined) return false;
    this.#pacer.advance(nowMs());
    return this.#kernel.work(this.#pacer.guestTimeMs);
  }

  #runBatch(backlog: number): void {
    const countsWrites = this.#unit === 'page-writes';
    let operations = 0;
    let pageWrites = 0;
    const operationsMax = Math.min(this.#batchOperations, this.#throttle.pagesLeft());
    while (operations < operationsMax && (countsWrites ? pageWrites : operations) < backlog) {
      pageWrites += this.#workload.operate(this.#memory);
      operations++;
    }
    this.#pacer.done(countsWrites ? pageWrites : operations);
    this.#count(operations, pageWrites);
  }

  #count(operations: number, pageWrites: number): void {
    const counters = this.#counters;
    counters[COUNTER_OPERATIONS] = (counters[COUNTER_OPERATIONS] as number) + operations;
    counters[COUNTER_PAGE_WRITES] = (counters[COUNTER_PAGE_WRITES] as number) + pageWrites;
  }

  /** Keeps a batch between half of BATCH_MS_MAX and the whole. */
  #adaptBatch(tookMs: number): void {
    if (tookMs > BATCH_MS_MAX) {
      this.#batchOperations = Math.max(1, this.#batchOperations >> 1);
    } else if (tookMs < BATCH_MS_MAX / 4) {
      this.#batchOperations = Math.min(BATCH_OPERATIONS_MAX, this.#batchOperations << 1);
    }
  }

  /** Saves what travels and stands still. False when the vCPU is to end. */
  #pause(): boolean {
    const parkedAtMs = nowMs();
    this.#pacer.advance(parkedAtMs);
    writeVcpuState(this.#shared, this.#index, this.#save());
    return this.#park(parkedAtMs);
  }

  #park(parkedAtMs: number): boolean {
    if (!this.#control.park(parkedAtMs)) return false;
    if (!this.#hasRun) {
      this.#hasRun = true;
      const state = readVcpuState(this.#shared, this.#index);
      if (state.byteLength > 0) this.#load(state);
    }
    this.#control.noteRun();
    const startMs = nowMs();
    this.#pacer.start(startMs);
    this.#throttle.start(startMs);
    return true;
  }

  #save(): Uint8Array {
    return encodeVcpuState({
      ...this.#pacer.save(),
      operations: this.#operationsBefore + (this.#counters[COUNTER_OPERATIONS] as number),
      pageWrites: this.#pageWritesBefore + (this.#counters[COUNTER_PAGE_WRITES] as number),
      workload: this.#workload.save(),
    });
  }

  #load(state: Uint8Array): void {
    const save = decodeVcpuState(state);
    this.#workload.load(save.workload);
    this.#pacer.load(save);
    this.#operationsBefore = save.operations;
    this.#pageWritesBefore = save.pageWrites;
  }

  /**
   * Saves and loads once, and serves requests of nobody, while nobody waits, so that code first used in a
   * migration's pause is loaded before.
   */
  #warmUp(): void {
    this.#load(this.#save());
    if (this.#server !== undefined) rehearseRequests(this.#shared.spec.workload!.kind);
  }
}

/** Until the vCPU is told to end; the thread does nothing else meanwhile. */
export function runVcpu({ shared, vcpu }: VcpuWork): void {
  new Vcpu(shared, vcpu).run();
}
