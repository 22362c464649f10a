/**
 * Wakes the relay at a moment, to about a tenth of a millisecond. Node's timers count whole milliseconds and
 * come late, so they cover the coarse part; the rest the thread sleeps in naps (Atomics.wait takes
 * fractions), and looks at its sockets between them. Spinning would be no more precise, and would take a core
 * from those who send and receive.
 */

import { NAP_MS, SLEEP_SLACK_MS, TIMER_COARSE_MS } from './limits.ts';

/** Nobody ever changes it: waiting on it is sleeping. */
const PILLOW = new Int32Array(new SharedArrayBuffer(4));

export class Wakeup {
  readonly #now: () => number;
  readonly #run: () => void;
  #atMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  constructor(now: () => number, run: () => void) {
    this.#now = now;
    this.#run = run;
  }

  /** Runs at this moment, instead of at the one set before; Infinity for not at all. */
  set(atMs: number): void {
    if (atMs === this.#atMs) return;
    this.#atMs = atMs;
    this.#arm();
  }

  #arm(): void {
    const inMs = this.#atMs - this.#now();
    if (inMs > TIMER_COARSE_MS) {
      this.#disarm();
      if (inMs !== Number.POSITIVE_INFINITY) {
        this.#timer = setTimeout(() => this.#arm(), Math.floor(inMs - TIMER_COARSE_MS));
      }
      return;
    }
    if (this.#immediate !== undefined) return;
    this.#disarm();
    this.#immediate = setImmediate(() => this.#nap());
  }

  #nap(): void {
    this.#immediate = undefined;
    const inMs = this.#atMs - this.#now();
    if (inMs > TIMER_COARSE_MS) {
      this.#arm();
      return;
    }
    if (inMs > SLEEP_SLACK_MS) Atomics.wait(PILLOW, 0, 0, Math.min(inMs, NAP_MS) - SLEEP_SLACK_MS);
    if (this.#now() < this.#atMs) {
      this.#arm();
      return;
    }
    this.#atMs = Number.POSITIVE_INFINITY;
    this.#run();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
  }
}
