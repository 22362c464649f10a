/**
 * The destination of a post-copy after it has resumed the guest: until every missing page has come, over as
 * many connections as it takes. While the link is lost vCPUs that need a page sleep, and the others run on.
 */

import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { PostcopyDestinationReport } from '../../proto/generated/godwit/v1/migration.ts';
import { isRecoveredByHand } from '../../proto/migration-options.ts';
import { nowMs } from '../clock.ts';
import { readFaultStatistics } from '../guest/fault-statistics.ts';
import { type DestinationSide, SourceGaveUp } from './destination-side.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { DestinationMoverData } from './messages.ts';
import { type ProgressBoard, progressBoard } from './progress-board.ts';
import { LateError, pauseFor, type Silence, within } from './silence.ts';

export class Arrival {
  readonly #data: DestinationMoverData;
  readonly #side: DestinationSide;
  readonly #silence: Silence;
  readonly #ledgerMs: number;
  readonly #signal: AbortSignal;
  readonly #board: ProgressBoard;
  readonly #tried: (problem: string) => void;
  /** Somebody wants a try, now; made anew for each. */
  #asked = Promise.withResolvers<void>();
  #isAsked = false;
  /** The first loss of the link since a page came, and how many had come then. */
  #fruitless = { sinceMs: 0, placedPages: 0 };
  #connectedAtMs = Number.NEGATIVE_INFINITY;
  #recoveries = 0;
  #pausedMs = 0;

  /**
   * @param ledgerMs how long the ledger may take from COMPLETE on
   * @param signal ends the migration with its reason
   * @param tried is told how the try ended that somebody asked for; empty: the link is there
   */
  constructor(
    data: DestinationMoverData,
    side: DestinationSide,
    silence: Silence,
    ledgerMs: number,
    signal: AbortSignal,
    tried: (problem: string) => void,
  ) {
    this.#data = data;
    this.#side = side;
    this.#silence = silence;
    this.#ledgerMs = ledgerMs;
    this.#signal = signal;
    this.#board = progressBoard(data.board);
    this.#tried = tried;
  }

  /** Tries to connect again at once, if the link is lost, and in place of a try that is under way. */
  recoverNow(): void {
    if (this.#board.isLinkLost !== 1) {
      this.#tried('');
      return;
    }
    this.#isAsked = true;
    this.#asked.resolve();
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
          await this.#side.sayComplete();
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

  /** Connects again, by itself or when somebody says so. @throws SourceGaveUp as `#mayTry` does */
  async #recover(lost: Error): Promise<void> {
    const pausedAtMs = nowMs();
    this.#board.isLinkLost = 1;
    let problem = this.#isFirstLoss(pausedAtMs) ? undefined : 'the new link was lost before a page came';
    for (let isLost = true; isLost; ) {
      await this.#mayTry(lost, problem);
      const wasAsked = this.#isAsked;
      this.#forgetAsking();
      problem = await this.#try();
      isLost = problem !== undefined;
      // Whoever has asked again meanwhile is told how the next one ends.
      const isTold = isLost ? wasAsked && !this.#isAsked : wasAsked || this.#isAsked;
      if (isTold) this.#tried(problem ?? '');
    }
    this.#forgetAsking();
    this.#board.isLinkLost = 0;
    this.#connectedAtMs = nowMs();
    this.#recoveries++;
    this.#pausedMs += this.#connectedAtMs - pausedAtMs;
  }

  #forgetAsking(): void {
    this.#isAsked = false;
    this.#asked = Promise.withResolvers();
  }

  /**
   * Waits until it is time for a try.
   *
   * @param problem of the last one
   * @throws SourceGaveUp when the recovery limit is over, or a link that was made over and over brought no page
   */
  async #mayTry(lost: Error, problem: string | undefined): Promise<void> {
    const { options } = this.#data;
    // A guest that has all pages waits for nobody: without the source it lacks the ledger alone, which memory tells.
    const isByHand = isRecoveredByHand(options) && this.#side.paging.missingPages > 0;
    if (isByHand) await within(this.#asked.promise, Number.POSITIVE_INFINITY, this.#signal);
    if (isByHand || problem === undefined) return;
    if (nowMs() - this.#fruitless.sinceMs > options.recoveryLimitMs) {
      throw new SourceGaveUp(`${lost.message}; connecting again: ${problem}`);
    }
    await pauseFor(MOVER_LIMITS.reconnectIntervalMs, this.#signal, this.#asked.promise);
  }

  /** Answers what was wrong. Ends early when somebody wants another one, which may find what this one does not. */
  async #try(): Promise<string | undefined> {
    const another = this.#asked.promise.then(() => Promise.reject(new Error('another try was asked for')));
    const connected = this.#side.reconnect();
    // They may end when nobody waits for them any more.
    for (const promise of [connected, another]) promise.catch(() => {});
    try {
      await within(Promise.race([connected, another]), DEADLINES_MS.query, this.#signal);
      return undefined;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof SourceGaveUp) throw error;
      this.#side.hangUp();
      return (error as Error).message;
    }
  }

  /** Whether the link was of use since it was last lost: it brought a page, or held for long. */
  #isFirstLoss(lostAtMs: number): boolean {
    const { placedPages } = this.#side.paging;
    const heldMs = lostAtMs - this.#connectedAtMs;
    const longMs = Math.max(this.#data.options.recoveryLimitMs, 2 * DEADLINES_MS.dataSilence);
    if (placedPages === this.#fruitless.placedPages && heldMs <= longMs) return false;
    this.#fruitless = { sinceMs: lostAtMs, placedPages };
    return true;
  }
}
