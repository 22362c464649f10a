/**
 * The vCPU's side of the control block: safepoints, sleeping, parking. The order of the operations here is
 * what the argument at the head of control-block.ts rests on.
 */

import { nowMs } from '../clock.ts';
import { retireVcpu } from './control-block.ts';
import {
  FIRST_RUN,
  FIRST_RUN_AT,
  FIRST_RUN_STAGE,
  HOLD,
  HOLDS_MASK,
  parkedAtDouble,
  SharedTimes,
  SIGNAL,
  seenWord,
  stateWord,
  VCPU_STATE,
  type VcpuState,
} from './control-layout.ts';
import { ringBell } from './nic-control.ts';

export class VcpuControl {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #times: SharedTimes;
  readonly #vcpu: number;
  #seen: number;

  /** @param control `SharedGuest.control` */
  constructor(control: SharedArrayBuffer, vcpu: number) {
    this.#words = new Int32Array(control);
    this.#times = new SharedTimes(control);
    this.#vcpu = vcpu;
    this.#seen = Atomics.load(this.#words, seenWord(vcpu));
  }

  /** To be passed at least every 50 microseconds of work. False when the vCPU is to park or to end. */
  safepoint(): boolean {
    const signal = Atomics.load(this.#words, SIGNAL);
    if (signal !== this.#seen) {
      this.#seen = signal;
      Atomics.store(this.#words, seenWord(this.#vcpu), signal);
      Atomics.notify(this.#words, seenWord(this.#vcpu));
    }
    return (signal & HOLDS_MASK) === 0;
  }

  /**
   * Sleeps for a time, or until a command or the NIC wakes it. A safepoint must follow before anything else.
   *
   * @param hasWork asked when others already see that this vCPU sleeps; if there is, it does not
   */
  sleep(durationMs: number, hasWork: () => boolean): void {
    this.#setState(VCPU_STATE.SLEEPING);
    if (!hasWork()) Atomics.wait(this.#words, SIGNAL, this.#seen, durationMs);
    this.#setState(VCPU_STATE.RUNNING);
  }

  /** Tells the NIC that its queues have changed. */
  ringNic(): void {
    ringBell(this.#words);
  }

  /**
   * Stands still, its state saved, until no hold is left. The vCPU's next act is to execute.
   *
   * @param parkedAtMs when it stopped executing, at the safepoint
   * @returns false when it is to end instead
   */
  park(parkedAtMs: number): boolean {
    this.#times.store(parkedAtDouble(this.#vcpu), parkedAtMs);
    for (;;) {
      this.#setState(VCPU_STATE.PARKED);
      Atomics.notify(this.#words, stateWord(this.#vcpu));
      while (!this.safepoint()) {
        if ((this.#seen & HOLD.STOP) !== 0) return false;
        Atomics.wait(this.#words, SIGNAL, this.#seen);
      }
      this.#setState(VCPU_STATE.RUNNING);
      // Whoever paused the guest again before it said RUNNING took it for parked.
      if (this.safepoint()) return true;
    }
  }

  /** Stands still in the middle of an operation: counts as parked until `goOn`. Answers as `safepoint`. */
  fault(): boolean {
    this.#setState(VCPU_STATE.FAULTED);
    Atomics.notify(this.#words, stateWord(this.#vcpu));
    // Whoever waits for this vCPU's safepoint and has not seen the state yet sees this.
    return this.safepoint();
  }

  /** Goes on after `fault`, when no hold is left. False when the vCPU is to end instead. */
  goOn(): boolean {
    for (;;) {
      this.#setState(VCPU_STATE.RUNNING);
      if (this.safepoint()) break;
      const isFree = this.fault();
      if ((this.#seen & HOLD.STOP) !== 0) return false;
      // The last hold may have ended in between: then nobody wakes this vCPU up.
      if (!isFree) Atomics.wait(this.#words, SIGNAL, this.#seen);
    }
    Atomics.notify(this.#words, stateWord(this.#vcpu));
    return true;
  }

  /** Notes the time if this is the first vCPU to execute since the guest was resumed. */
  noteRun(): void {
    const { AWAITED, NOTING, NOTED } = FIRST_RUN_STAGE;
    if (Atomics.compareExchange(this.#words, FIRST_RUN, AWAITED, NOTING) !== AWAITED) return;
    this.#times.store(FIRST_RUN_AT, nowMs());
    Atomics.store(this.#words, FIRST_RUN, NOTED);
    Atomics.notify(this.#words, FIRST_RUN);
  }

  /** Ends the vCPU's part by command. Its thread touches the guest no more. */
  retire(): void {
    retireVcpu(this.#words, this.#vcpu, VCPU_STATE.STOPPED);
  }

  #setState(state: VcpuState): void {
    Atomics.store(this.#words, stateWord(this.#vcpu), state);
  }
}
