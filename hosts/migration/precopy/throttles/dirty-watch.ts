/**
 * QEMU's trigger for slowing a guest (migration_bitmap_sync and migration_trigger_throttle in migration/ram.c):
 * at the ends of rounds, at least a period of 1 s apart, it holds what the guest has dirtied since the last look
 * against what was sent since then. Also QEMU's (cpu_throttle_dirty_sync_timer_tick, from 9.2 on): a look every
 * five periods inside of a round, since rounds may be long; not inside of the first, in which all is sent anyway.
 */

import { PAGE_BYTES } from '../../../../proto/page.ts';
import type { PrecopyView } from '../precopy-view.ts';
import { type Reins, sum } from './reins.ts';

/** CPU_THROTTLE_DIRTY_SYNC_TIMESLICE_MS is 5000, and the least time between two looks 1000 ms. */
const PERIODS_INSIDE_ROUND = 5;

export interface DirtyFound {
  readonly dirtiedBytes: number;
  /** Of what was sent, as much as may be dirtied. */
  readonly thresholdBytes: number;
}

export class DirtyWatch {
  readonly #reins: Reins;
  /** Looks at which too much was dirtied until that is an answer. */
  readonly #looks: number;
  #lookedAtMs: number | undefined;
  #faultsBefore = 0;
  #bytesBefore = 0;
  #highCount = 0;

  constructor(reins: Reins, looks: number) {
    this.#reins = reins;
    this.#looks = looks;
  }

  /** What was found when a look was due and the guest has dirtied too much as often as it takes. */
  look(view: PrecopyView, isRoundEnd: boolean): DirtyFound | undefined {
    this.#lookedAtMs ??= view.rounds[0]?.startMs ?? view.roundStartMs;
    const { throttlePeriodMs, throttleTriggerThreshold } = this.#reins.convergence;
    const apartMs = isRoundEnd ? throttlePeriodMs : throttlePeriodMs * PERIODS_INSIDE_ROUND;
    if (view.rounds.length === 0 || view.nowMs - this.#lookedAtMs < apartMs) return undefined;
    const faults = sum(this.#reins.writeFaults);
    const dirtiedBytes = (faults - this.#faultsBefore) * PAGE_BYTES;
    const thresholdBytes = ((view.sentBytes - this.#bytesBefore) * throttleTriggerThreshold) / 100;
    this.#lookedAtMs = view.nowMs;
    this.#faultsBefore = faults;
    this.#bytesBefore = view.sentBytes;
    if (dirtiedBytes <= thresholdBytes || ++this.#highCount < this.#looks) return undefined;
    this.#highCount = 0;
    return { dirtiedBytes, thresholdBytes };
  }
}
