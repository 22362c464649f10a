/** The time that a probe watches a guest: its windows, one after the other, the truth of each; what the guest did. */

import { nowMs } from '../../clock.ts';
import type { ProbedGuest } from './probed-guest.ts';
import { WriteTruth } from './write-truth.ts';

/** Blocks for so long. */
export type Sleep = (durationMs: number) => void;

interface Instant {
  readonly atMs: number;
  readonly operations: number;
}

export class Watch {
  readonly truth: WriteTruth;
  readonly #guest: ProbedGuest;
  readonly #sleep: Sleep;
  #start: Instant;
  #end: Instant;

  constructor(guest: ProbedGuest, sleep: Sleep) {
    this.truth = new WriteTruth(guest);
    this.#guest = guest;
    this.#sleep = sleep;
    this.#start = this.#end = this.#now();
  }

  /** From the beginning to the end of the last window. */
  get elapsedMs(): number {
    return this.#end.atMs - this.#start.atMs;
  }

  /** What the guest did in that time. */
  get operations(): number {
    return this.#end.operations - this.#start.operations;
  }

  /** @param action with which the probe begins; it is done twice, since what is slow the first time blurs the edge */
  begin(action: () => void): void {
    action();
    this.truth.rehearse();
    this.truth.begin(() => {
      action();
      this.#start = this.#now();
    });
  }

  /**
   * A window lasts until so long after the beginning, or ends at once when that is over. Answers how many pages were
   * written in it.
   *
   * @param action with which the probe ends it, and begins the next
   */
  until(afterMs: number, window: number, action: () => void): number {
    const leftMs = this.#start.atMs + afterMs - nowMs();
    if (leftMs > 0) this.#sleep(leftMs);
    return this.truth.turn(window, () => {
      action();
      this.#end = this.#now();
    });
  }

  #now(): Instant {
    return { atMs: nowMs(), operations: this.#guest.operations() };
  }
}
