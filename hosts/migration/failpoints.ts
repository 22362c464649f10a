/**
 * Faults on purpose: at named points of the protocol a test or an experiment may have the host kill itself,
 * wait, or stand still until it is told to go on.
 */

import { type Failpoint, FailpointAction } from '../../proto/generated/godwit/v1/migration.ts';
import type { FailpointName } from '../../proto/names.ts';
import { pauseFor } from './silence.ts';

export interface FailpointHooks {
  /** The migration stands at a point and waits for `release`. */
  held(point: FailpointName): void;
  /** It goes on. */
  released(): void;
}

export class Failpoints {
  /** Those that were not met yet: each happens once, however often a lost link leads to its place. */
  readonly #byPoint: Map<string, Failpoint>;
  readonly #hooks: FailpointHooks;
  readonly #signal: AbortSignal;
  #release: (() => void) | undefined;

  /** @param signal ends the wait at a point, with its reason */
  constructor(failpoints: readonly Failpoint[], hooks: FailpointHooks, signal: AbortSignal) {
    this.#byPoint = new Map(failpoints.map((failpoint) => [failpoint.point, failpoint]));
    this.#hooks = hooks;
    this.#signal = signal;
  }

  /** Whether something is to happen at a point that was not met yet. */
  has(point: FailpointName): boolean {
    return this.#byPoint.has(point);
  }

  /**
   * The migration is at this point. Resolves when it may go on: at once, unless something is to happen here.
   */
  async reach(point: FailpointName): Promise<void> {
    const failpoint = this.#byPoint.get(point);
    if (failpoint === undefined) return;
    this.#byPoint.delete(point);
    const { action, durationMs } = failpoint;
    if (action === FailpointAction.FAILPOINT_ACTION_KILL) process.kill(process.pid, 'SIGKILL');
    if (action === FailpointAction.FAILPOINT_ACTION_DELAY) await pauseFor(durationMs, this.#signal);
    if (action === FailpointAction.FAILPOINT_ACTION_HOLD) await this.#hold(point, durationMs);
  }

  /** Lets a held migration go on. Without effect when none is. */
  release(): void {
    this.#release?.();
  }

  async #hold(point: FailpointName, durationMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#release = resolve;
    this.#hooks.held(point);
    try {
      await pauseFor(durationMs, this.#signal, promise);
    } finally {
      this.#release = undefined;
      this.#hooks.released();
    }
  }
}

/** How much longer than its deadline the other side may be silent because it stands at a failpoint. */
export function longestHoldMs(failpoints: readonly Failpoint[]): number {
  return Math.max(0, ...failpoints.map(({ durationMs }) => durationMs));
}
