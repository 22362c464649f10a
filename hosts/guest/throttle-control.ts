/**
 * How vCPUs are slowed, as whoever slows them sees it: two words in each vCPU's line of the control block. The
 * vCPU's side is vcpu-throttle.ts.
 *
 * A throttled vCPU sleeps on SIGNAL as one does that has nothing to do (VCPU_STATE.SLEEPING), so epochs and
 * pauses go on as they do with any other, and a hold wakes it up. Letting go stores zeroes, then looks at the
 * holds. While there is one nobody need be woken: vCPUs park, and read these words again when they go on.
 * Otherwise SIGNAL's count is raised: a vCPU that read the old words and does not sleep yet finds it changed, and
 * does not.
 */

import { HOLDS_MASK, quotaWord, SIGNAL, SIGNAL_STEP, throttleWord } from './control-layout.ts';

/** How many pages a vCPU may dirty in a period. */
export interface DirtyQuota {
  readonly pages: number;
  readonly periodMs: number;
}

export const THROTTLE_LIMITS = {
  percentMax: 99,
  quotaPagesMax: 2 ** 21 - 1,
  quotaPeriodMsMax: 1000,
} as const;

/** The unit of a duty cycle in its word. */
export const PERCENT_STEPS = 100;
/** A quota is one word, so that no vCPU sees one's pages with another's period: pages x this + period. */
export const QUOTA_PERIODS = 1024;

export class ThrottleControl {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #vcpuCount: number;

  /** @param words the control block's */
  constructor(words: Int32Array<SharedArrayBuffer>, vcpuCount: number) {
    this.#words = words;
    this.#vcpuCount = vcpuCount;
  }

  /** From now on each vCPU stands still for so many percent of the time; 0: for none. */
  setPercent(percent: number): void {
    const { percentMax } = THROTTLE_LIMITS;
    if (!(percent >= 0 && percent <= percentMax)) {
      throw new Error(`throttling vCPUs by ${percent} %; allowed is 0 to ${percentMax} %`);
    }
    this.#store(throttleWord, Math.round(percent * PERCENT_STEPS));
  }

  /** From now on each vCPU may dirty so many pages in each period. */
  setQuota({ pages, periodMs }: DirtyQuota): void {
    const { quotaPagesMax, quotaPeriodMsMax } = THROTTLE_LIMITS;
    const isRight = Number.isInteger(pages) && Number.isInteger(periodMs) && pages >= 1 && periodMs >= 1;
    if (!isRight || pages > quotaPagesMax || periodMs > quotaPeriodMsMax) {
      throw new Error(
        `letting each vCPU dirty ${pages} pages in ${periodMs} ms; ` +
          `allowed is 1 to ${quotaPagesMax} pages in 1 to ${quotaPeriodMsMax} ms`,
      );
    }
    this.#store(quotaWord, pages * QUOTA_PERIODS + periodMs);
  }

  /** Whether any vCPU is slowed. */
  get isOn(): boolean {
    return this.#vcpus().some((vcpu) => {
      return [throttleWord, quotaWord].some((word) => Atomics.load(this.#words, word(vcpu)) !== 0);
    });
  }

  /** The guest runs as fast as it can, from now on, and those that stand still go on. */
  release(): void {
    if (!this.isOn) return;
    this.#store(throttleWord, 0);
    this.#store(quotaWord, 0);
    if ((Atomics.load(this.#words, SIGNAL) & HOLDS_MASK) !== 0) return;
    Atomics.add(this.#words, SIGNAL, SIGNAL_STEP);
    Atomics.notify(this.#words, SIGNAL);
  }

  #store(word: (vcpu: number) => number, value: number): void {
    for (const vcpu of this.#vcpus()) Atomics.store(this.#words, word(vcpu), value);
  }

  #vcpus(): number[] {
    return [...Array(this.#vcpuCount).keys()];
  }
}
