/**
 * When a migration's time is up: the limit on all of it, one that grows with the guest's memory (nova's
 * live_migration_completion_timeout, KubeVirt's completionTimeoutPerGiB), and one on the time without progress
 * (KubeVirt's progressTimeout). What happens then is `on-timeout`'s to say.
 */

import { convergenceOf } from '../../../proto/convergence.ts';
import type { MigrationOptions } from '../../../proto/generated/godwit/v1/migration.ts';
import { MOVER_LIMITS } from '../limits.ts';

const GIBIBYTE = 2 ** 30;

export type Timeout = 'total-time-limit' | 'completion-timeout' | 'progress-timeout';

export class Timeouts {
  readonly #totalMs: number;
  readonly #completionMs: number;
  readonly #progressMs: number;
  #expired: Timeout | undefined;
  #pendingPages: number | undefined;
  #sampledAtMs = 0;
  #progressAtMs = 0;

  constructor(options: MigrationOptions, memoryBytes: number) {
    const { completionTimeoutPerGibMs, progressTimeoutMs } = convergenceOf(options);
    this.#totalMs = options.totalTimeLimitMs;
    // As many as KubeVirt counts: a part of one is one. Its own are of 10^9 bytes.
    this.#completionMs = completionTimeoutPerGibMs * Math.ceil(memoryBytes / GIBIBYTE);
    this.#progressMs = progressTimeoutMs;
  }

  /**
   * The first that was over; once there is one it stays.
   *
   * @param elapsedMs since the migration's acceptance
   * @param pendingPages what would be sent if nothing more were written; asked for now and then
   */
  expired(elapsedMs: number, pendingPages: () => number): Timeout | undefined {
    this.#expired ??= this.#nowExpired(elapsedMs, pendingPages);
    return this.#expired;
  }

  /** For people. */
  text(timeout: Timeout): string {
    switch (timeout) {
      case 'total-time-limit':
        return `${seconds(this.#totalMs)} are over`;
      case 'completion-timeout':
        return `the ${seconds(this.#completionMs)} for a guest of this size are over`;
      case 'progress-timeout':
        return `what remains has not become less for ${seconds(this.#progressMs)}`;
    }
  }

  #nowExpired(elapsedMs: number, pendingPages: () => number): Timeout | undefined {
    if (elapsedMs >= this.#totalMs) return 'total-time-limit';
    if (this.#completionMs > 0 && elapsedMs >= this.#completionMs) return 'completion-timeout';
    if (this.#progressMs > 0 && this.#isStuck(elapsedMs, pendingPages)) return 'progress-timeout';
    return undefined;
  }

  /** As KubeVirt: less than at the last look is progress. */
  #isStuck(elapsedMs: number, pendingPages: () => number): boolean {
    const before = this.#pendingPages;
    if (before !== undefined && elapsedMs - this.#sampledAtMs < MOVER_LIMITS.progressSampleMs) return false;
    this.#pendingPages = pendingPages();
    this.#sampledAtMs = elapsedMs;
    if (before === undefined || this.#pendingPages < before) this.#progressAtMs = elapsedMs;
    return elapsedMs - this.#progressAtMs >= this.#progressMs;
  }
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
