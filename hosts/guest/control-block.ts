/**
 * The commander's side of a guest's control block: how movers and the main thread pause, resume and stop
 * vCPUs, and how they make sure that dirty pages can be read. The vCPU's side is vcpu-control.ts, the NIC's
 * nic-control.ts.
 *
 * THE TRAP. A vCPU looks at a page's dirty mark with a plain load, then stores to the page. It may find the
 * mark set while its store still waits in the processor's store buffer; if the mark is cleared and the page
 * copied in between, the copy lacks the store and nothing says so. An atomic operation for each store would
 * close the gap at six times the price. Instead, whoever clears marks waits for every vCPU to pass a
 * safepoint before it reads a page:
 *
 *   mover: 1. clears marks (Atomics.and)        vCPU: a. checks marks (plain), stores to pages (plain)
 *          2. raises SIGNAL's count                   b. safepoint: loads SIGNAL; if it changed, stores
 *          3. waits until each vCPU has seen it,         it in its seen word
 *             or does not execute                     c. checks marks, stores to pages
 *          4. reads the pages
 *
 * Why nothing is lost. Atomics are sequentially consistent, so there is one order of all of them. Take any
 * store of a vCPU to a page whose mark was cleared, and the vCPU's first safepoint that sees this signal.
 * - Stores before it (a): the vCPU's atomic store to its seen word follows them, and the mover's load of it
 *   in step 3 synchronizes with it: the mover reads them in step 4.
 * - Stores after it (c): the vCPU's load of SIGNAL in b synchronizes with step 2, so step 1 happened before
 *   c: the check finds the mark cleared, and sets it again before the store. The page is collected, and read,
 *   once more.
 *
 * A vCPU that does not execute (STARTING, SLEEPING, PARKED, FAULTED, STOPPED, FAILED) counts as having passed. It
 * stored that state after its last store to a page, so the mover, having loaded it, sees those stores. When
 * it goes on, it first stores RUNNING and then loads SIGNAL, before anything else. If the mover's load of the
 * state came first in the one order, step 2 came before that load of SIGNAL, which is the second case;
 * otherwise the mover saw RUNNING and waits. The same two operations in that order keep a vCPU that wakes up
 * while it is being paused again from executing: it says RUNNING, finds the hold, and parks.
 *
 * A vCPU that waits for a missing page (FAULTED, vcpu-faults.ts) does the same in the middle of an operation:
 * it goes on by RUNNING and a load of SIGNAL, and stands still there while a hold is set. So it counts as
 * parked too. Its state is not saved then, so a guest may only be moved when all faults are over.
 *
 * The NIC writes memory too, in bursts: it stores RUNNING, loads SIGNAL, and, if no hold is set, checks marks and
 * stores to pages; then it stores SLEEPING, loads SIGNAL, and stores that as seen. With a hold it goes back to
 * SLEEPING without a store to a page. So it is a vCPU that sleeps between bursts, and what is said above holds:
 * - A burst that began after a mover loaded another state than RUNNING loads SIGNAL after step 2 (or after the hold
 *   was set): its checks find the marks cleared (or it writes nothing).
 * - A burst that the mover met RUNNING is waited for. When it is over, its stores precede SLEEPING, which the mover
 *   loads, or the seen word, whose value is then not older than the mover's signal: the mover loaded RUNNING after
 *   step 2 and before the NIC stored SLEEPING, so the NIC's load of SIGNAL, which follows, comes after step 2. That
 *   is also why this last load and store belong to the end of a burst: they change the word on which a mover waits,
 *   where a vCPU that falls asleep would find the signal by itself.
 * For a pause the NIC counts as parked whenever it is not RUNNING: it has no state to save. One that died in
 * a burst is declared dead by the main thread, and counts as parked too.
 *
 * Why nobody sleeps too long. A vCPU sleeps in Atomics.wait on SIGNAL with the value that it last stored as
 * seen: if SIGNAL was raised since then, the wait ends at once and the safepoint follows. Commands notify it
 * besides; epochs need not. The mover waits on the very words that it just loaded, and a thread that ends
 * changes both of them. The vCPU that serves the NIC's queues stores SLEEPING, looks into them once more, and
 * only then waits; the NIC changes a queue and then loads that state. In the one order one of the two comes first:
 * the vCPU finds what was put there, or the NIC finds it SLEEPING and raises SIGNAL. The NIC itself waits for its
 * bell, with the count that it loaded before it looked what there was to do.
 */

import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { nowMs } from '../clock.ts';
import {
  FAULT_ENDED,
  FIRST_RUN,
  FIRST_RUN_AT,
  FIRST_RUN_STAGE,
  faultWord,
  HANDOVER,
  HANDOVER_WORD,
  type Handover,
  HOLD,
  HOLDS_MASK,
  type Hold,
  LEASE_UNTIL,
  MISSING_PAGES,
  NIC_EXECUTOR,
  parkedAtDouble,
  SharedTimes,
  SIGNAL,
  SIGNAL_STEP,
  seenWord,
  stateWord,
  VCPU_STATE,
  type VcpuState,
} from './control-layout.ts';
import { ringBell } from './nic-control.ts';
import { ThrottleControl } from './throttle-control.ts';

export class ControlBlock {
  readonly vcpuCount: number;
  /** How its vCPUs are slowed. */
  readonly throttle: ThrottleControl;
  /** Whoever may write guest memory. The NIC, if there is none, stays STARTING and is waited for by nobody. */
  readonly #executors: readonly number[];
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #times: SharedTimes;

  /** @param control `SharedGuest.control` */
  constructor(control: SharedArrayBuffer, vcpuCount: number) {
    this.vcpuCount = vcpuCount;
    this.#executors = [...Array(vcpuCount).keys(), NIC_EXECUTOR];
    this.#words = new Int32Array(control);
    this.#times = new SharedTimes(control);
    this.throttle = new ThrottleControl(this.#words, vcpuCount);
  }

  // Commands.

  /** Asks all vCPUs to park; waitParked tells when they have. Other holds stay as they are. */
  requestPause(hold: Hold = HOLD.PAUSE): void {
    this.#changeHolds((holds) => holds | hold);
  }

  /**
   * Takes a hold off; vCPUs run if none is left. One thread at a time may resume a guest: the one that holds
   * its handover. Without effect when the hold is not set.
   */
  resume(hold: Hold = HOLD.PAUSE): void {
    if ((this.holds() & hold) === 0) return;
    if (hold === HOLD.PAUSE) Atomics.store(this.#words, FIRST_RUN, FIRST_RUN_STAGE.AWAITED);
    this.#changeHolds((holds) => holds & ~hold);
  }

  /** Ends all vCPU threads at their next safepoint, for good. */
  stop(): void {
    this.#changeHolds((holds) => holds | HOLD.STOP);
    // Those that wait for a page look at the holds after they have stored it, and before they sleep.
    for (let vcpu = 0; vcpu < this.vcpuCount; vcpu++) {
      Atomics.store(this.#words, faultWord(vcpu), FAULT_ENDED);
      Atomics.notify(this.#words, faultWord(vcpu));
    }
  }

  /** The holds that are set now, as bits of HOLD; 0 when the guest runs, or is about to. */
  holds(): number {
    return Atomics.load(this.#words, SIGNAL) & HOLDS_MASK;
  }

  #changeHolds(change: (holds: number) => number): void {
    for (;;) {
      const signal = Atomics.load(this.#words, SIGNAL);
      const next = ((signal & ~HOLDS_MASK) + SIGNAL_STEP) | change(signal & HOLDS_MASK) | 0;
      if (Atomics.compareExchange(this.#words, SIGNAL, signal, next) === signal) break;
    }
    Atomics.notify(this.#words, SIGNAL);
    ringBell(this.#words);
  }

  // Waiting for vCPUs.

  /**
   * Blocks until no vCPU executes and the NIC writes nothing. Not for the main thread.
   *
   * @throws when a vCPU has failed, or has not parked in time
   */
  waitParked(withinMs: number = DEADLINES_MS.safepoint): void {
    const untilMs = nowMs() + withinMs;
    for (const executor of this.#executors) {
      for (let state = this.#state(executor); !isParked(executor, state); state = this.#state(executor)) {
        const leftMs = untilMs - nowMs();
        if (leftMs <= 0) throw late(executor, state, 'park', withinMs);
        Atomics.wait(this.#words, stateWord(executor), state, leftMs);
      }
    }
  }

  /** As waitParked, for the main thread. */
  async waitParkedAsync(withinMs: number = DEADLINES_MS.safepoint): Promise<void> {
    const untilMs = nowMs() + withinMs;
    for (const executor of this.#executors) {
      for (let state = this.#state(executor); !isParked(executor, state); state = this.#state(executor)) {
        const leftMs = untilMs - nowMs();
        if (leftMs <= 0) throw late(executor, state, 'park', withinMs);
        await Atomics.waitAsync(this.#words, stateWord(executor), state, leftMs).value;
      }
    }
  }

  /** For a guest that has a NIC: resolves when it stands by, has ended, or has had its time. */
  async waitNicAsync(withinMs: number): Promise<void> {
    const untilMs = nowMs() + withinMs;
    const { STARTING } = VCPU_STATE;
    while (this.#state(NIC_EXECUTOR) === STARTING && nowMs() < untilMs) {
      await Atomics.waitAsync(this.#words, stateWord(NIC_EXECUTOR), STARTING, untilMs - nowMs()).value;
    }
  }

  /**
   * When the last vCPU stopped executing; all are parked. The time is taken at its safepoint, before it saves
   * its state: saving is part of the downtime. Of a pause that found the guest paused it is the time of the
   * pause before.
   */
  parkedAtMs(): number {
    let last = 0;
    for (let vcpu = 0; vcpu < this.vcpuCount; vcpu++) {
      last = Math.max(last, this.#times.load(parkedAtDouble(vcpu)));
    }
    return last;
  }

  /**
   * Blocks until a vCPU executes after the last resume; answers the time at which the first one did. Not for
   * the main thread.
   *
   * @throws when a vCPU has failed, or none executed in time
   */
  waitFirstRun(withinMs: number = DEADLINES_MS.safepoint): number {
    const untilMs = nowMs() + withinMs;
    for (;;) {
      const stage = Atomics.load(this.#words, FIRST_RUN);
      if (stage === FIRST_RUN_STAGE.NOTED) return this.firstRunAtMs();
      for (let vcpu = 0; vcpu < this.vcpuCount; vcpu++) {
        if (this.vcpuState(vcpu) === VCPU_STATE.FAILED) {
          throw new Error(`waiting for a resumed guest: vCPU ${vcpu} has failed; destroy the guest`);
        }
      }
      const leftMs = untilMs - nowMs();
      if (leftMs <= 0) throw new Error(`waiting for a resumed guest: no vCPU executed within ${withinMs} ms`);
      Atomics.wait(this.#words, FIRST_RUN, stage, leftMs);
    }
  }

  /** When the first vCPU executed after the last resume. Known once waitFirstRun has answered. */
  firstRunAtMs(): number {
    return this.#times.load(FIRST_RUN_AT);
  }

  /** Begins an epoch. Answers what waitEpoch needs. */
  bumpEpoch(): number {
    return (Atomics.add(this.#words, SIGNAL, SIGNAL_STEP) + SIGNAL_STEP) | 0;
  }

  /**
   * Blocks until every vCPU and the NIC have passed a safepoint since `epoch` began, or do not execute. Not for
   * the main thread.
   *
   * @throws when one has not in time
   */
  waitEpoch(epoch: number, withinMs: number = DEADLINES_MS.safepoint): void {
    let untilMs = 0;
    for (const executor of this.#executors) {
      for (;;) {
        const state = this.#state(executor);
        if (!isExecuting(state)) break;
        const seen = Atomics.load(this.#words, seenWord(executor));
        // The difference wraps as the counts do.
        if (((seen - epoch) | 0) >= 0) break;
        if (untilMs === 0) untilMs = nowMs() + withinMs;
        const leftMs = untilMs - nowMs();
        if (leftMs <= 0) throw late(executor, state, 'pass a safepoint', withinMs);
        Atomics.wait(this.#words, seenWord(executor), seen, leftMs);
      }
    }
  }

  /** One handshake: what vCPUs stored before it can be read, what they store afterwards is marked. */
  passEpoch(withinMs: number = DEADLINES_MS.safepoint): void {
    this.waitEpoch(this.bumpEpoch(), withinMs);
  }

  /**
   * Until no vCPU is in the middle of a fault any more; all pages are here. A fault lasts while the guest is
   * held, for as long as an audit may take.
   *
   * @throws when one does not go on in time
   */
  async waitFaultsOver(withinMs: number = DEADLINES_MS.guestWork): Promise<void> {
    const untilMs = nowMs() + withinMs;
    for (let vcpu = 0; vcpu < this.vcpuCount; vcpu++) {
      while (this.vcpuState(vcpu) === VCPU_STATE.FAULTED) {
        const leftMs = untilMs - nowMs();
        if (leftMs <= 0) throw late(vcpu, VCPU_STATE.FAULTED, 'end its fault', withinMs);
        await Atomics.waitAsync(this.#words, stateWord(vcpu), VCPU_STATE.FAULTED, leftMs).value;
      }
    }
  }

  /** How many pages of the guest have not come to this host yet. */
  get missingPages(): number {
    return Atomics.load(this.#words, MISSING_PAGES);
  }

  vcpuState(vcpu: number): VcpuState {
    return this.#state(vcpu);
  }

  #state(executor: number): VcpuState {
    return Atomics.load(this.#words, stateWord(executor)) as VcpuState;
  }

  /**
   * For a thread that is no more: unless it ended by command its vCPU has failed, and nobody waits for it.
   */
  markEnded(vcpu: number): void {
    if (this.vcpuState(vcpu) === VCPU_STATE.STOPPED) return;
    retireVcpu(this.#words, vcpu, VCPU_STATE.FAILED);
  }

  /** The same for the NIC's thread, however it ended: nobody waits for it, and the guest is none the worse. */
  markNicEnded(): void {
    retireExecutor(this.#words, NIC_EXECUTOR, VCPU_STATE.STOPPED);
  }

  // The handover of a migration.

  handover(): Handover {
    return Atomics.load(this.#words, HANDOVER_WORD) as Handover;
  }

  /** Takes the handover from one stage to another, if it is still there: whoever comes first decides. */
  tryHandover(from: Handover, to: Handover): boolean {
    if (Atomics.compareExchange(this.#words, HANDOVER_WORD, from, to) !== from) return false;
    if (to === HANDOVER.COMMITTED) ringBell(this.#words);
    return true;
  }

  /**
   * Until when this host may run a guest whose handover is open, on its own clock; 0 when it has no lease.
   */
  get leaseUntilMs(): number {
    return this.#times.load(LEASE_UNTIL);
  }

  set leaseUntilMs(untilMs: number) {
    this.#times.store(LEASE_UNTIL, untilMs);
  }
}

/**
 * Ends a vCPU's part: it counts as parked, or as failed, from now on. Changes the words that others wait on.
 */
export function retireVcpu(
  words: Int32Array<SharedArrayBuffer>,
  vcpu: number,
  state: typeof VCPU_STATE.STOPPED | typeof VCPU_STATE.FAILED,
): void {
  retireExecutor(words, vcpu, state);
  if (state === VCPU_STATE.STOPPED) return;
  const { AWAITED, FAILED } = FIRST_RUN_STAGE;
  if (Atomics.compareExchange(words, FIRST_RUN, AWAITED, FAILED) === AWAITED)
    Atomics.notify(words, FIRST_RUN);
}

function retireExecutor(
  words: Int32Array<SharedArrayBuffer>,
  executor: number,
  state: typeof VCPU_STATE.STOPPED | typeof VCPU_STATE.FAILED,
): void {
  Atomics.store(words, stateWord(executor), state);
  Atomics.notify(words, stateWord(executor));
  Atomics.store(words, seenWord(executor), Atomics.load(words, SIGNAL));
  Atomics.notify(words, seenWord(executor));
}

function isExecuting(state: VcpuState): boolean {
  return state === VCPU_STATE.RUNNING;
}

function isParked(executor: number, state: VcpuState): boolean {
  if (executor === NIC_EXECUTOR) return !isExecuting(state);
  if (state === VCPU_STATE.FAILED) {
    throw new Error(`waiting for the guest to park: vCPU ${executor} has failed; destroy the guest`);
  }
  return state === VCPU_STATE.PARKED || state === VCPU_STATE.STOPPED || state === VCPU_STATE.FAULTED;
}

function late(executor: number, state: VcpuState, what: string, withinMs: number): Error {
  const name = executor === NIC_EXECUTOR ? 'the NIC' : `vCPU ${executor}`;
  const stateName = Object.keys(VCPU_STATE)[state] ?? state;
  return new Error(
    `waiting for the guest: ${name} (${stateName}) did not ${what} within ${withinMs} ms; ` +
      'on a slow machine raise GODWIT_PATIENCE',
  );
}
