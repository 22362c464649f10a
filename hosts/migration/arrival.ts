/**
 * The destination of a post-copy after it has resumed the guest: until every missing page has come, over as
 * many connections as it takes. While the link is lost vCPUs that need a page sleep, and the others run on.
 */

import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { PostcopyDestinationReport } from '../../proto/generated/godwit/v1/migration.ts';
import { nowMs } from '../clock.ts';
import { readFaultStatistics } from '../guest/fault-statistics.ts';
import { type DestinationSide, SourceGaveUp } from './destination-side.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { DestinationMoverData } from './messages.ts';
import { LateError, pauseFor, type Silence, within } from './silence.ts';

export class Arrival {
  readonly #data: DestinationMoverData;
  readonly #side: DestinationSide;
  readonly #silence: Silence;
  readonly #ledgerMs: number;
  readonly #signal: AbortSignal;
  #recoveries = 0;
  #pausedMs = 0;

  /**
   * @param ledgerMs how long the ledger may take from COMPLETE on
   * @param signal ends the migration with its reason
   */
  constructor(
    data: DestinationMoverData,
    side: DestinationSide,
    silence: Silence,
    ledgerMs: number,
    signal: AbortSignal,
  ) {
    this.#data = data;
    this.#side = side;
    this.#silence = silence;
    this.#ledgerMs = ledgerMs;
    this.#signal = signal;
  }

  /** Resolves when every page is here and the source knows it. @throws when that will not come to be */
  async complete(): Promise<void> {
    const { paging } = this.#side;
    if (!paging.isActive) return;
    const alive = setInterval(() => this.#side.sayAlive(), MOVER_LIMITS.aliveIntervalMs);
    try {
      for (let lost: Error | undefined; ; ) {
        try {
          if (lost !== undefined) await this.#recover(lost);
          await this.#orLost('the missing pages', paging.complete.promise);
          this.#side.sayComplete();
          await within(this.#orLost('the ledger', this.#side.ledger.promise), this.#ledgerMs, this.#signal);
          return;
        } catch (error) {
          lost = error instanceof Error ? error : new Error(String(error));
          const isOver = lost instanceof SourceGaveUp || lost instanceof LateError;
          if (isOver || this.#side.isLedgerComing) throw lost;
          this.#signal.throwIfAborted();
        }
      }
    } finally {
      clearInterval(alive);
    }
  }

  /** Undefined for a guest that was whole when it was resumed. */
  report(): PostcopyDestinationReport | undefined {
    const { paging } = this.#side;
    if (!paging.isActive) return undefined;
    const statistics = readFaultStatistics(this.#data.shared.faults);
    return {
      completeAtMs: paging.completeAtMs,
      placedPages: BigInt(paging.placedPages),
      faults: BigInt(statistics.faults),
      requests: BigInt(paging.requests),
      blocktimeMs: statistics.blocktimeMs,
      vcpuBlocktimeMs: statistics.vcpuBlocktimeMs,
      faultLatency: statistics.latency.map(({ upToMs, faults }) => ({ upToMs, faults: BigInt(faults) })),
      faultLatencyMaxMs: statistics.latencyMaxMs,
      recoveries: this.#recoveries,
      pausedMs: this.#pausedMs,
    };
  }

  async #orLost(what: string, promise: Promise<void>): Promise<void> {
    await this.#silence.during(what, Promise.race([promise, this.#side.lost.promise]));
  }

  /** Connects again. @throws SourceGaveUp when that cannot be done within the recovery limit */
  async #recover(lost: Error): Promise<void> {
    const pausedAtMs = nowMs();
    const { recoveryLimitMs } = this.#data.options;
    for (;;) {
      try {
        await within(this.#side.reconnect(), DEADLINES_MS.query, this.#signal);
        break;
      } catch (error) {
        this.#signal.throwIfAborted();
        if (error instanceof SourceGaveUp) throw error;
        if (nowMs() - pausedAtMs > recoveryLimitMs) {
          throw new SourceGaveUp(`${lost.message}; connecting again: ${(error as Error).message}`);
        }
      }
      await pauseFor(MOVER_LIMITS.reconnectIntervalMs, this.#signal);
    }
    this.#recoveries++;
    this.#pausedMs += nowMs() - pausedAtMs;
  }
}
