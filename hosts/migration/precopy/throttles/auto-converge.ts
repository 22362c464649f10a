/**
 * QEMU's auto-converge (mig_throttle_guest_down in migration/ram.c): whenever the guest was found twice to dirty
 * too much, its vCPUs stand still for cpu-throttle-initial percent of the time, and then for
 * cpu-throttle-increment more each time, up to max-cpu-throttle. cpu-throttle-tailslow: by no more than what
 * seems to be missing.
 */

import type { DecisionLog } from '../decision-log.ts';
import type { PrecopyView } from '../precopy-view.ts';
import { type DirtyFound, DirtyWatch } from './dirty-watch.ts';
import type { Reins } from './reins.ts';
import type { ThrottleRule } from './throttle-rule.ts';

/** QEMU's dirty_rate_high_cnt. */
const LOOKS = 2;

export class AutoConverge implements ThrottleRule {
  readonly #reins: Reins;
  readonly #log: DecisionLog;
  readonly #watch: DirtyWatch;
  #percent = 0;

  constructor(reins: Reins, log: DecisionLog) {
    this.#reins = reins;
    this.#log = log;
    this.#watch = new DirtyWatch(reins, LOOKS);
  }

  look(view: PrecopyView, isRoundEnd: boolean): void {
    const found = this.#watch.look(view, isRoundEnd);
    if (found === undefined) return;
    const { maxCpuThrottle } = this.#reins.convergence;
    const percent = Math.min(this.#percent + this.#increment(found), maxCpuThrottle);
    if (percent === this.#percent) return;
    this.#percent = percent;
    this.#reins.setPercent(percent);
    this.#log.note('auto-converge', 'has each vCPU stand still for so many percent of the time', percent);
  }

  #increment({ dirtiedBytes, thresholdBytes }: DirtyFound): number {
    const { cpuThrottleInitial, cpuThrottleIncrement, cpuThrottleTailslow } = this.#reins.convergence;
    if (this.#percent === 0) return cpuThrottleInitial;
    if (!cpuThrottleTailslow) return cpuThrottleIncrement;
    // What the guest has of its vCPUs now, and what it should have to dirty no more than the threshold.
    const now = 100 - this.#percent;
    const ideal = now * (thresholdBytes / dirtiedBytes);
    return Math.min(now - ideal, cpuThrottleIncrement);
  }
}
