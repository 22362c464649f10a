/**
 * What a technique sees of the source: four steps from which it is made (techniques/). This file is the
 * rounds; the pause and what follows is switchover.ts.
 */

import { OnTimeout, type RoundReport } from '../../proto/generated/godwit/v1/migration.ts';
import type { FailpointName } from '../../proto/names.ts';
import { FAILPOINTS } from '../../proto/names.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { collectDirtyPages, PageTable } from '../guest/page-table.ts';
import { pageCountOf } from '../guest/shared-guest.ts';
import { BandwidthLimit } from './bandwidth-limit.ts';
import { WireViolation } from './channel-receiver.ts';
import { Estimates } from './estimates.ts';
import { PageSender } from './page-sender.ts';
import type { SourceParts } from './source-parts.ts';
import { Switchover } from './switchover.ts';

const MS_PER_S = 1000;

/** Why a technique that iterates came to its last round. */
type Convergence = 'converged' | 'max-rounds' | 'total-time-limit';

export class SourceSide {
  readonly rounds: RoundReport[] = [];
  readonly switching: Switchover;
  readonly #parts: SourceParts;
  readonly #control: ControlBlock;
  readonly #pageTable: PageTable;
  readonly #pageSender: PageSender;
  readonly #estimates = new Estimates();
  readonly #pages: Uint32Array;
  #convergence: Convergence | '' = '';

  constructor(parts: SourceParts) {
    this.#parts = parts;
    const { shared, options } = parts.data;
    const pageCount = pageCountOf(shared.spec);
    this.#control = new ControlBlock(shared.control, shared.spec.vcpuCount);
    this.#pageTable = new PageTable(shared.pageTable, pageCount);
    this.#pages = new Uint32Array(pageCount);
    const limit = new BandwidthLimit(options.maxBandwidthBytesPerS);
    const senders = parts.channels.map(({ sender }) => sender);
    this.#pageSender = new PageSender(shared.memory, senders, limit, parts.signal);
    this.switching = new Switchover(parts, this.#control);
  }

  /**
   * converged, max-rounds or total-time-limit; empty while it is open, and for techniques that do not
   * iterate.
   */
  get convergence(): string {
    return this.#convergence;
  }

  get counts(): PageSender['counts'] {
    return this.#pageSender.counts;
  }

  /** Sends every page. What is written from its beginning on is dirty. */
  async sendAll(): Promise<void> {
    collectDirtyPages(this.#pageTable, this.#control, this.#pages);
    for (let page = 0; page < this.#pages.length; page++) this.#pages[page] = page;
    await this.#round(this.#pages.length);
  }

  /** Sends the pages that were written since they were last sent. */
  async sendDirty(): Promise<void> {
    const pageCount = collectDirtyPages(this.#pageTable, this.#control, this.#pages);
    await this.#round(pageCount);
  }

  /**
   * Whether to switch over now: what is dirty is expected to fit the downtime limit, or to be sent whatever
   * it costs.
   *
   * @throws when the guest does not converge within the limits and the options say to give up then
   */
  converged(): boolean {
    const { options } = this.#parts.data;
    const dirtyPages = this.#pageTable.countDirty();
    const expectedMs = this.#estimates.expectedDowntimeMs(dirtyPages);
    this.#parts.board.expectedDowntimeMs = expectedMs;
    if (dirtyPages <= options.minDirtyPages || this.#estimates.fits(dirtyPages, options.downtimeLimitMs)) {
      this.#convergence = 'converged';
      return true;
    }
    if (this.#timeIsUp()) this.#convergence = 'total-time-limit';
    else if (this.rounds.length >= options.maxRounds) this.#convergence = 'max-rounds';
    else return false;
    if (options.onTimeout === OnTimeout.ON_TIMEOUT_STOP_AND_COPY) return true;
    throw new Error(
      `the guest does not converge (${this.#convergence}): in round ${this.rounds.length} ` +
        `${dirtyPages} pages are still to be sent, an expected downtime of ${expectedMs.toFixed(1)} ms; allowed is ` +
        `${options.downtimeLimitMs} ms. Raise the downtime limit or the bandwidth, or let it stop and copy`,
    );
  }

  /**
   * Pauses the guest, has the final pages sent, and hands the guest over. When it answers the guest runs at
   * the destination.
   *
   * @param finalPages sends what the destination needs to run the guest
   * @throws when the guest stays here
   */
  async switchover(finalPages: () => Promise<void>): Promise<void> {
    await this.switching.pause();
    const { maxBandwidthBytesPerS, limitFinalRound } = this.#parts.data.options;
    if (maxBandwidthBytesPerS > 0 && !limitFinalRound) this.#pageSender.limit = new BandwidthLimit(0);
    await finalPages();
    await this.switching.handOver();
  }

  /** One pass: sends the first `pageCount` of `#pages` and waits until the destination has placed them. */
  async #round(pageCount: number): Promise<void> {
    const { board, channels, silence, signal } = this.#parts;
    const round = this.rounds.length + 1;
    const final = this.switching.isPaused;
    const startMs = nowMs();
    const startBytes = this.sentBytes;
    const before = { ...this.counts };
    Object.assign(board, { round, roundStartMs: startMs, roundPages: pageCount, roundPagesSent: 0 });
    board.roundStartBytes = startBytes;
    // Expected before they can come.
    const answers = channels.map((channel) => channel.expect('ROUND_DONE'));
    const sentCount = await this.#sendPages(round, final, pageCount);
    for (const { sender } of channels) sender.send('ROUND_END', { round });
    if (final) {
      // READY will say that all is in place; what counts here is when it had left.
      await Promise.all(channels.map(({ sender }) => sender.flushed()));
    } else {
      const done = await silence.during('the end of a round', Promise.all(answers));
      const liar = channels.find((_, index) => done[index]?.round !== round);
      liar?.lose(new WireViolation(`ROUND_DONE is not of round ${round}`));
      signal.throwIfAborted();
    }
    const durationMs = nowMs() - startMs;
    const dirtiedPages = this.#pageTable.countDirty();
    for (let index = sentCount; index < pageCount; index++) {
      this.#pageTable.markDirty(this.#pages[index] as number);
    }
    this.#estimates.addRound(this.sentBytes - startBytes, durationMs, dirtiedPages);
    const dirtyPagesAfter = sentCount < pageCount ? this.#pageTable.countDirty() : dirtiedPages;
    const { bandwidthBytesPerS, dirtyRatePagesPerS } = this.#estimates;
    const expectedDowntimeMs = this.#estimates.expectedDowntimeMs(dirtyPagesAfter);
    Object.assign(board, { bandwidthBytesPerS, dirtyRatePagesPerS, expectedDowntimeMs });
    this.#report();
    this.rounds.push({
      round,
      final,
      startMs,
      durationMs,
      pages: BigInt(sentCount),
      zeroPages: BigInt(this.counts.zeroPages - before.zeroPages),
      sentBytes: BigInt(this.sentBytes - startBytes),
      resentPages: BigInt(this.counts.resentPages - before.resentPages),
      dirtyPagesAfter: BigInt(dirtyPagesAfter),
      dirtyRatePagesPerS: (dirtiedPages / Math.max(durationMs, Number.EPSILON)) * MS_PER_S,
      bandwidthBytesPerS,
      expectedDowntimeMs,
    });
  }

  /**
   * Sends the pages, with the failpoints of a round in its middle. Answers how many it sent: all, unless time
   * is up.
   */
  async #sendPages(round: number, final: boolean, pageCount: number): Promise<number> {
    const { failpoints, board, signal } = this.#parts;
    const startPages = this.counts.dataPages + this.counts.zeroPages;
    const keepOn = (): boolean => {
      signal.throwIfAborted();
      board.roundPagesSent = this.counts.dataPages + this.counts.zeroPages - startPages;
      this.#report();
      return final || !this.#timeIsUp();
    };
    const points = failpointsOf(round, final).filter((point) => failpoints.has(point));
    const middle = points.length > 0 ? Math.floor(pageCount / 2) : pageCount;
    let sentCount = await this.#pageSender.send(this.#pages, 0, middle, keepOn);
    for (const point of points) await failpoints.reach(point);
    if (sentCount === middle) {
      sentCount = await this.#pageSender.send(this.#pages, middle, pageCount, keepOn);
    }
    keepOn();
    return sentCount;
  }

  #report(): void {
    this.#parts.board.transferredBytes = this.sentBytes;
  }

  #timeIsUp(): boolean {
    const { acceptedAtMs, options } = this.#parts.data;
    return nowMs() - acceptedAtMs >= options.totalTimeLimitMs;
  }

  /** Bytes given to all sockets so far. */
  get sentBytes(): number {
    return this.#parts.channels.reduce((sum, { sender }) => sum + sender.sentBytes, 0);
  }
}

/** The failpoints in the middle of a round. */
function failpointsOf(round: number, final: boolean): FailpointName[] {
  return FAILPOINTS.filter((point) => point === `round-${round}` || (final && point === 'final-pages'));
}
