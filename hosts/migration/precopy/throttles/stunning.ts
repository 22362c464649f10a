/**
 * Clark et al.'s "stunning rogue processes" (NSDI 2005, section 5): once the guest was found to dirty too much
 * each vCPU may take stun-quota write faults, and then waits. In the paper processes of a Xen guest wait, for a
 * time that is not told; here vCPUs do, until the next look of the governors.
 */

import { MOVER_LIMITS } from '../../limits.ts';
import type { DecisionLog } from '../decision-log.ts';
import type { PrecopyView } from '../precopy-view.ts';
import { DirtyWatch } from './dirty-watch.ts';
import type { Reins } from './reins.ts';
import type { ThrottleRule } from './throttle-rule.ts';

/** A rogue is stunned when it is found. */
const LOOKS = 1;

export class Stunning implements ThrottleRule {
  readonly #reins: Reins;
  readonly #log: DecisionLog;
  readonly #watch: DirtyWatch;
  #isOn = false;

  constructor(reins: Reins, log: DecisionLog) {
    this.#reins = reins;
    this.#log = log;
    this.#watch = new DirtyWatch(reins, LOOKS);
  }

  look(view: PrecopyView, isRoundEnd: boolean): void {
    if (this.#isOn || this.#watch.look(view, isRoundEnd) === undefined) return;
    this.#isOn = true;
    const { stunQuota } = this.#reins.convergence;
    const periodMs = MOVER_LIMITS.governorTickMs;
    // The vCPU begins each period by itself: a mover that hangs does not stop the guest.
    this.#reins.setQuota({ pages: stunQuota, periodMs });
    this.#log.note('stunning', `lets each vCPU take so many write faults in ${periodMs} ms`, stunQuota);
  }
}
