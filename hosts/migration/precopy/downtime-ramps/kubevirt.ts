/**
 * KubeVirt's downtime tuning (VEP 291): from 150 ms to the limit in seven steps, from the third round on, and not
 * less than a cooldown of 10 s after the step before. The first step's cooldown begins with the migration.
 */

import { convergenceOf } from '../../../../proto/convergence.ts';
import type { DowntimeRamp, DowntimeRampContext, RampMoment } from './downtime-ramp.ts';

/** initialMs, steps, startAfterIteration, cooldownSeconds. */
const INITIAL_MS = 150;
const STEPS = 7;
const FIRST_ROUND = 3;
const COOLDOWN_MS = 10_000;

export class KubevirtRamp implements DowntimeRamp {
  readonly #maxMs: number;
  readonly #stepMs: number;
  readonly #cooldownMs: number;
  #limitMs: number;
  #steppedAtMs = 0;

  constructor({ options }: DowntimeRampContext) {
    this.#maxMs = options.downtimeLimitMs;
    this.#limitMs = Math.min(INITIAL_MS, this.#maxMs);
    this.#stepMs = (this.#maxMs - this.#limitMs) / STEPS;
    this.#cooldownMs = convergenceOf(options).downtimeRampStepMs || COOLDOWN_MS;
  }

  limitMs({ elapsedMs, round }: RampMoment): number {
    const isDue = round >= FIRST_ROUND && elapsedMs - this.#steppedAtMs >= this.#cooldownMs;
    if (isDue && this.#limitMs < this.#maxMs) {
      this.#limitMs = Math.min(this.#limitMs + this.#stepMs, this.#maxMs);
      this.#steppedAtMs = elapsedMs;
    }
    return this.#limitMs;
  }
}
