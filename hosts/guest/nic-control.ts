/**
 * The NIC's side of the control block. Its thread writes guest memory only in bursts, between `enter` and `leave`:
 * in the handshake a burst is what lies between two safepoints of a vCPU. Why that loses nothing is told at the head of
 * control-block.ts; the order of the operations here is what it rests on.
 */

import {
  HOLDS_MASK,
  NIC_BELL,
  NIC_EXECUTOR,
  SIGNAL,
  SIGNAL_STEP,
  seenWord,
  stateWord,
  VCPU_STATE,
} from './control-layout.ts';

const STATE = stateWord(NIC_EXECUTOR);
const SEEN = seenWord(NIC_EXECUTOR);
/** The vCPU that serves the queues. */
export const SERVING_VCPU = 0;
const SERVING_STATE = stateWord(SERVING_VCPU);

export class NicControl {
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param control `SharedGuest.control` */
  constructor(control: SharedArrayBuffer) {
    this.#words = new Int32Array(control);
  }

  /** Its uplink has been tried: whoever waits for the NIC of an arriving guest need not wait longer. */
  standBy(): void {
    const { STARTING, SLEEPING } = VCPU_STATE;
    if (Atomics.compareExchange(this.#words, STATE, STARTING, SLEEPING) === STARTING)
      Atomics.notify(this.#words, STATE);
  }

  /**
   * Begins a burst, which is to be short: a pause and a handshake wait for its end. False when the guest is held:
   * then it has not begun, and nothing may be written.
   */
  enter(): boolean {
    Atomics.store(this.#words, STATE, VCPU_STATE.RUNNING);
    if ((Atomics.load(this.#words, SIGNAL) & HOLDS_MASK) === 0) return true;
    this.leave();
    return false;
  }

  /** Ends the burst. */
  leave(): void {
    const words = this.#words;
    Atomics.store(words, STATE, VCPU_STATE.SLEEPING);
    Atomics.store(words, SEEN, Atomics.load(words, SIGNAL));
    Atomics.notify(words, STATE);
    Atomics.notify(words, SEEN);
  }

  /**
   * Wakes up the serving vCPU if it sleeps, as an interrupt would. One that does not sleep looks into the queues by
   * itself: at its next safepoint, or when it has said that it sleeps and before it does.
   */
  kick(): void {
    if (Atomics.load(this.#words, SERVING_STATE) !== VCPU_STATE.SLEEPING) return;
    Atomics.add(this.#words, SIGNAL, SIGNAL_STEP);
    Atomics.notify(this.#words, SIGNAL);
  }

  /** How often the bell was rung. To be read before one looks what there is to do. */
  rings(): number {
    return Atomics.load(this.#words, NIC_BELL);
  }

  /** Resolves when the bell has been rung since `rings` was read; answers false if it had been already. */
  async rung(rings: number): Promise<boolean> {
    const wait = Atomics.waitAsync(this.#words, NIC_BELL, rings);
    if (wait.async) await wait.value;
    return wait.async;
  }

  /** Wakes up the NIC itself. */
  ring(): void {
    ringBell(this.#words);
  }
}

/** @param words the control block's */
export function ringBell(words: Int32Array<SharedArrayBuffer>): void {
  Atomics.add(words, NIC_BELL, 1);
  Atomics.notify(words, NIC_BELL);
}
