/**
 * The host's lease from the coordinator. A guest with an open handover may run only while it lives
 * (docs/ownership.md). It counts from the moment when the heartbeat was sent, so that it ends here before the
 * coordinator thinks so.
 */

import { nowMs } from './clock.ts';

export interface LeaseHooks {
  /** The new end of the lease, to be written where other threads read it. */
  renewed(untilMs: number): void;
  ended(): void;
}

export class Lease {
  #untilMs = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #hooks: LeaseHooks;

  constructor(hooks: LeaseHooks) {
    this.#hooks = hooks;
  }

  /** The monotonic clock's time at which the lease ends, ms; 0 before the first. */
  get untilMs(): number {
    return this.#untilMs;
  }

  get alive(): boolean {
    return nowMs() < this.#untilMs;
  }

  renew(sentAtMs: number, leaseMs: number): void {
    // A thread that was stalled hears of the new lease before its timer tells that the old one is over.
    if (this.#untilMs > 0 && !this.alive) this.#hooks.ended();
    this.#untilMs = Math.max(this.#untilMs, sentAtMs + leaseMs);
    this.#hooks.renewed(this.#untilMs);
    this.#arm();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const waitMs = Math.max(this.#untilMs - nowMs(), 0);
    this.#timer = setTimeout(() => this.#onTimer(), waitMs);
    this.#timer.unref();
  }

  #onTimer(): void {
    if (this.alive) this.#arm();
    else this.#hooks.ended();
  }
}
