/**
 * OpenStack nova's ramp (downtime_steps in nova/virt/libvirt/migration.py): from a tenth of the limit to all of it
 * in ten equal steps. Between two of them is a delay for each GiB of memory, two at least, which is counted in whole
 * seconds there and is not here.
 */

import { convergenceOf } from '../../../../proto/convergence.ts';
import type { DowntimeRamp, DowntimeRampContext, RampMoment } from './downtime-ramp.ts';

/** live_migration_downtime_steps. */
const STEPS = 10;
/** live_migration_downtime_delay, for each GiB. */
const DELAY_MS = 75_000;
const GIBIBYTES_MIN = 2;
const GIBIBYTE = 2 ** 30;

export class NovaRamp implements DowntimeRamp {
  readonly #limitMs: number;
  readonly #delayMs: number;

  constructor({ options, memoryBytes }: DowntimeRampContext) {
    const stepMs = convergenceOf(options).downtimeRampStepMs || DELAY_MS;
    this.#limitMs = options.downtimeLimitMs;
    this.#delayMs = stepMs * Math.max(memoryBytes / GIBIBYTE, GIBIBYTES_MIN);
  }

  limitMs({ elapsedMs }: RampMoment): number {
    const firstMs = this.#limitMs / STEPS;
    const step = Math.min(Math.floor(elapsedMs / this.#delayMs), STEPS);
    return step === STEPS ? this.#limitMs : firstMs + ((this.#limitMs - firstMs) / STEPS) * step;
  }
}
