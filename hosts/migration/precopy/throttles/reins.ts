/** What holds a guest back while it migrates: how it is slowed, what it dirties, and what that cost it. */

import { convergenceOf, THROTTLES, type ThrottleName } from '../../../../proto/convergence.ts';
import {
  type Convergence,
  type MigrationOptions,
  Throttle,
  type ThrottleReport,
} from '../../../../proto/generated/godwit/v1/migration.ts';
import type { ControlBlock } from '../../../guest/control-block.ts';
import {
  COUNTER_THROTTLED_MS,
  COUNTER_WRITE_FAULTS,
  countersOf,
  type SharedGuest,
} from '../../../guest/shared-guest.ts';
import type { DirtyQuota } from '../../../guest/throttle-control.ts';
import type { PrecopyView } from '../precopy-view.ts';

/** A share of a shorter time says nothing: vCPUs note what they stood still when they go on. */
const SHARE_MS_MIN = 100;

export class Reins {
  readonly rule: ThrottleName;
  readonly convergence: Readonly<Convergence>;
  readonly #control: ControlBlock;
  readonly #counters: readonly Float64Array<SharedArrayBuffer>[];
  /** The counters when the migration began. */
  readonly #before: readonly Float64Array[];
  #maxPercent = 0;
  #lookedAtMs: number | undefined;
  #throttledMs = 0;

  /** Undefined when no rule is to slow the guest. */
  static of(shared: SharedGuest, control: ControlBlock, options: MigrationOptions): Reins | undefined {
    const convergence = convergenceOf(options);
    return convergence.throttle === Throttle.THROTTLE_NONE
      ? undefined
      : new Reins(shared, control, convergence);
  }

  constructor(shared: SharedGuest, control: ControlBlock, convergence: Readonly<Convergence>) {
    this.rule = THROTTLES.nameOf(convergence.throttle) ?? 'none';
    this.convergence = convergence;
    this.#control = control;
    this.#counters = Array.from({ length: control.vcpuCount }, (_, vcpu) => countersOf(shared, vcpu));
    this.#before = this.#counters.map((counters) => Float64Array.from(counters));
  }

  /** Pages that each vCPU has dirtied since the migration began. */
  get writeFaults(): number[] {
    return this.#since(COUNTER_WRITE_FAULTS);
  }

  /** How long each vCPU stood still; what lasts now comes when it is over. */
  get throttledMs(): number[] {
    return this.#since(COUNTER_THROTTLED_MS);
  }

  #since(counter: number): number[] {
    return this.#counters.map((line, vcpu) => (line[counter] as number) - this.#before[vcpu]![counter]!);
  }

  /** vCPUs stand still for so much of the time. */
  setPercent(percent: number): void {
    this.#maxPercent = Math.max(this.#maxPercent, percent);
    this.#control.throttle.setPercent(percent);
  }

  /** Each vCPU may dirty so much and no more. */
  setQuota(quota: DirtyQuota): void {
    this.#control.throttle.setQuota(quota);
  }

  get isOn(): boolean {
    return this.#control.throttle.isOn;
  }

  release(): void {
    this.#control.throttle.release();
  }

  /** A round is over: takes down what share of it vCPUs stood still. */
  roundEnded({ nowMs, acceptedAtMs }: PrecopyView): void {
    const durationMs = nowMs - (this.#lookedAtMs ?? acceptedAtMs);
    if (durationMs < SHARE_MS_MIN) return;
    const throttledMs = sum(this.throttledMs);
    const percent = ((throttledMs - this.#throttledMs) / (durationMs * this.#counters.length)) * 100;
    this.#lookedAtMs = nowMs;
    this.#throttledMs = throttledMs;
    // A duty cycle is as it was set.
    if (this.rule !== 'auto-converge') this.#maxPercent = Math.min(Math.max(this.#maxPercent, percent), 100);
  }

  report(): ThrottleReport {
    return {
      rule: this.rule,
      maxPercent: this.#maxPercent,
      vcpuThrottledMs: this.throttledMs,
      vcpuWriteFaults: this.writeFaults.map(BigInt),
    };
  }
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
