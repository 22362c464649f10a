/**
 * The layout of a guest's control block: where each field lies, who writes it, who reads it. All accesses are
 * Atomics (sequentially consistent); times are doubles whose 64 bits are stored and loaded as one BigInt64.
 * Fields of different writers lie in different cache lines. Its users are control-block.ts, vcpu-control.ts,
 * vcpu-faults.ts, throttle-control.ts, vcpu-throttle.ts, missing-pages.ts and nic-control.ts.
 */

import { GUEST_LIMITS } from '../../proto/guest-spec.ts';

const LINE_BYTES = 64;
const LINE_WORDS = LINE_BYTES / 4;
const LINE_DOUBLES = LINE_BYTES / 8;
const SHARED_LINES = 5;

/**
 * What every vCPU must see. Low 4 bits: the holds (HOLD), a vCPU executes only while none is set. The rest: a
 * count that each command and each epoch raises, and the NIC when it wakes up a vCPU, and that wraps. Written by
 * movers, the main thread and the NIC (compare-and-swap, or addition), read by vCPUs at each safepoint and by the NIC
 * at the beginning and the end of each burst, waited on by vCPUs that sleep or are parked; commands and the NIC
 * notify it.
 */
export const SIGNAL = 0;
/** The handover's decision (HANDOVER): compare-and-swap by the mover and the main thread. */
export const HANDOVER_WORD = LINE_WORDS;
/**
 * How far the first execution after the last resume has come (FIRST_RUN_STAGE). Notified when it changes to
 * its end.
 */
export const FIRST_RUN = 2 * LINE_WORDS;

/**
 * Raised by each vCPU that begins to wait for a missing page, which notifies it; the mover that can fetch the
 * page waits on it.
 */
export const FAULT_BELL = 3 * LINE_WORDS;
/** How many vCPUs wait for a missing page now. Written by them. */
export const ASLEEP = FAULT_BELL + 1;
/** How many pages have not come yet. Written by an incoming mover, or by the main thread when it is no more. */
export const MISSING_PAGES = FAULT_BELL + 2;

/**
 * The NIC's bell: a count that wraps. Raised and notified by whoever has something for the NIC: the vCPU that put
 * responses into their queue or took requests out of theirs, each command, and a handover that is committed. The NIC
 * waits on it.
 */
export const NIC_BELL = 4 * LINE_WORDS;

/** When the first vCPU executed after the last resume. Written by that vCPU at NOTING. */
export const FIRST_RUN_AT = 2 * LINE_DOUBLES + 1;
/**
 * Until when this host may run a guest whose handover is open. Written by the main thread, read by the mover.
 */
export const LEASE_UNTIL = LINE_DOUBLES + 1;

/** Whoever writes guest memory has a line: each vCPU that of its number, and the NIC this one. */
export const NIC_EXECUTOR = GUEST_LIMITS.vcpuCountMax;

/**
 * What an executor does (VCPU_STATE). Written by the executor, or for a thread that is no more by the main thread;
 * waited on.
 */
export function stateWord(executor: number): number {
  return (SHARED_LINES + executor) * LINE_WORDS;
}
/** The last signal that an executor has seen at a safepoint. Written by the same, waited on. */
export function seenWord(executor: number): number {
  return stateWord(executor) + 1;
}
/** When a vCPU last stopped executing. Written by the vCPU before its state says PARKED. */
export function parkedAtDouble(vcpu: number): number {
  return (SHARED_LINES + vcpu) * LINE_DOUBLES + 1;
}

/**
 * The page that a vCPU waits for, as its number + 1; 0: none; FAULT_ENDED: it is to end. Written by the vCPU,
 * and, to wake it up, by the mover that has the page or by whoever ends the guest; waited on.
 */
export function faultWord(vcpu: number): number {
  return stateWord(vcpu) + 4;
}
export const FAULT_ENDED = -1;
/** When a vCPU last began to wait for a page. Written by it before it counts as ASLEEP. */
export function faultedAtDouble(vcpu: number): number {
  return (SHARED_LINES + vcpu) * LINE_DOUBLES + 3;
}

/**
 * How a vCPU is slowed (throttle-control.ts): its duty cycle, and its quota of pages to dirty; 0: not by this.
 * Written by whoever slows it or lets it go, rarely; read by the vCPU at each safepoint.
 */
export function throttleWord(vcpu: number): number {
  return stateWord(vcpu) + 8;
}
export function quotaWord(vcpu: number): number {
  return stateWord(vcpu) + 9;
}

export const CONTROL_BYTES = (SHARED_LINES + NIC_EXECUTOR + 1) * LINE_BYTES;

/** Why vCPUs stand still. Independent bits of SIGNAL: a guest runs when no hold is left. */
export const HOLD = {
  /** By command: of a user, or of a migration. */
  PAUSE: 1,
  /** For an audit, which so neither wakes a guest that a migration paused nor is woken up by it. */
  AUDIT: 2,
  /** For good. */
  STOP: 4,
  /**
   * Its handover is open and the host's lease has ended: until the witness has spoken (docs/ownership.md). Or it
   * stays behind on a host that ends.
   */
  LEASE: 8,
} as const;
export type Hold = (typeof HOLD)[keyof typeof HOLD];

export const HOLDS_MASK = HOLD.PAUSE | HOLD.AUDIT | HOLD.STOP | HOLD.LEASE;
/** One step of SIGNAL's count. */
export const SIGNAL_STEP = 16;

export const FIRST_RUN_STAGE = {
  /** No vCPU has executed since the guest was resumed. */
  AWAITED: 0,
  /** The first one is writing down its time. */
  NOTING: 1,
  NOTED: 2,
  /** A vCPU failed before any executed. */
  FAILED: 3,
} as const;

export const VCPU_STATE = {
  /** Its thread is being made and has not touched the guest; or there is no NIC. */
  STARTING: 0,
  RUNNING: 1,
  /** Waits for the time of its next operation, or for a command. A NIC: between two bursts. */
  SLEEPING: 2,
  /** Stands still by command; its state is saved. A NIC has nothing to save and never says so. */
  PARKED: 3,
  /** Its thread has ended by command. */
  STOPPED: 4,
  /** Its thread has ended by an error. */
  FAILED: 5,
  /** Waits for a missing page, in the middle of an operation: it stands still, and its state is not saved. */
  FAULTED: 6,
} as const;
export type VcpuState = (typeof VCPU_STATE)[keyof typeof VCPU_STATE];

/** How far a handover has come at one side; docs/ownership.md. */
export const HANDOVER = {
  NONE: 0,
  /** Source: COMMIT was never sent and never will be. */
  KEPT: 1,
  /** Source: COMMIT is being sent; the guest does not run here again by itself. */
  COMMITTED: 2,
  /** Destination: everything is here. */
  READY: 3,
  /** Destination: the guest runs here. */
  RESUMED: 4,
  /** Destination: it never will. */
  ABANDONED: 5,
} as const;
export type Handover = (typeof HANDOVER)[keyof typeof HANDOVER];

/** A new guest: held, its vCPUs STARTING, nothing handed over. */
export function initializeControl(control: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(control), SIGNAL, HOLD.PAUSE);
}

const scratchDouble = new Float64Array(1);
const scratchBits = new BigInt64Array(scratchDouble.buffer);

/** The control block's times, whole and ordered as no plain double of shared memory would be. */
export class SharedTimes {
  readonly #bits: BigInt64Array<SharedArrayBuffer>;

  constructor(control: SharedArrayBuffer) {
    this.#bits = new BigInt64Array(control);
  }

  load(index: number): number {
    scratchBits[0] = Atomics.load(this.#bits, index);
    return scratchDouble[0] as number;
  }

  store(index: number, value: number): void {
    scratchDouble[0] = value;
    Atomics.store(this.#bits, index, scratchBits[0] as bigint);
  }
}
