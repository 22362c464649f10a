/** The time that a probe watches a guest: its windows, one after the other, and the truth of each. */

import { nowMs } from '../../clock.ts';
import type { ProbedGuest } from './probed-guest.ts';
import { WriteTruth } from './write-truth.ts';

/** Blocks for so long. */
export type Sleep = (durationMs: number) => void;

export class Watch {
  readonly truth: WriteTruth;
  #startMs = 0;
  #endMs = 0;
  readonly #sleep: Sleep;

  constructor(guest: ProbedGuest, sleep: Sleep) {
    this.truth = new WriteTruth(guest);
    this.#sleep = sleep;
  }

  /** From the beginning to the end of the last window. */
  get elapsedMs(): number {
    return this.#endMs - this.#startMs;
  }

  /** @param action with which the probe begins */
  begin(action: () => void): void {
    this.truth.begin(() => {
      action();
      this.#startMs = nowMs();
    });
  }

  /**
   * A window lasts until so long after the beginning, or ends at once when that is over. Answers how many pages were
   * written in it.
   *
   * @param action with which the probe ends it, and begins the next
   */
  until(afterMs: number, window: number, action: () => void): number {
    const leftMs = this.#startMs + afterMs - nowMs();
    if (leftMs > 0) this.#sleep(leftMs);
    return this.truth.turn(window, () => {
      action();
      this.#endMs = nowMs();
    });
  }
}
