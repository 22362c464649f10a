/**
 * QEMU's dirty-limit (migration_dirty_limit_guest in migration/ram.c): once the guest was
 * found twice to dirty too much, each vCPU may dirty vcpu-dirty-limit and no more, for the rest of the migration.
 * One that dirties less is not slowed. QEMU finds a vCPU's rate by how often its dirty ring is full, and lets it
 * sleep then; here the pages are counted when they are first written.
 */

import { PAGE_BYTES } from '../../../../proto/page.ts';
import { THROTTLE_TIMESLICE_MS } from '../../../guest/limits.ts';
import { type DirtyQuota, THROTTLE_LIMITS } from '../../../guest/throttle-control.ts';
import type { DecisionLog } from '../decision-log.ts';
import type { PrecopyView } from '../precopy-view.ts';
import { DirtyWatch } from './dirty-watch.ts';
import type { Reins } from './reins.ts';
import type { ThrottleRule } from './throttle-rule.ts';

/** As auto-converge: QEMU has one trigger for both. */
const LOOKS = 2;
/** So that whole pages make the rate: a period has at least so many, unless it became longer than QEMU's 1 s. */
const PERIOD_PAGES_MIN = 8;
const MS_PER_S = 1000;

export class DirtyLimit implements ThrottleRule {
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
    const { vcpuDirtyLimitBytesPerS } = this.#reins.convergence;
    this.#reins.setQuota(quotaOf(vcpuDirtyLimitBytesPerS / PAGE_BYTES));
    this.#log.note('dirty-limit', 'lets each vCPU dirty so many bytes/s', vcpuDirtyLimitBytesPerS);
  }
}

/** A quota of so many pages per second, in periods as short as whole pages allow. */
export function quotaOf(pagesPerS: number): DirtyQuota {
  const pagesPerSlice = (pagesPerS * THROTTLE_TIMESLICE_MS) / MS_PER_S;
  const slices = Math.max(1, Math.ceil(PERIOD_PAGES_MIN / pagesPerSlice));
  const periodMs = Math.min(slices * THROTTLE_TIMESLICE_MS, THROTTLE_LIMITS.quotaPeriodMsMax);
  const pages = Math.round((pagesPerS * periodMs) / MS_PER_S);
  return { pages: Math.min(Math.max(pages, 1), THROTTLE_LIMITS.quotaPagesMax), periodMs };
}
