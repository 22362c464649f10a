/**
 * The source after the switch of post-copy: the guest runs at the destination, and this host serves the pages
 * that it lacks there. A demanded page goes at once, on the priority channel if there is one; meanwhile the
 * others are pushed in the order of push-order/, little at a time, so that a fault does not wait behind them.
 * Each page leaves once: it is taken out of `unsent` by whoever sends it.
 *
 * When the link is lost the pages stay here, until the destination has connected again and said what it lacks.
 */

import { setImmediate } from 'node:timers/promises';
import { DEADLINES_MS, PATIENCE } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import { MigrationPhase, type PostcopySourceReport } from '../../proto/generated/godwit/v1/migration.ts';
import { isRecoveredByHand } from '../../proto/migration-options.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import { BandwidthLimit } from './bandwidth-limit.ts';
import { WireViolation } from './channel-receiver.ts';
import { LackingReceiver } from './lacking-transfer.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { PageSender } from './page-sender.ts';
import { NO_PAGE, PageSet } from './page-set.ts';
import type { PushOrder } from './push-order/push-order.ts';
import { pushOrder } from './push-order/registry.ts';
import { PushWindow } from './push-window.ts';
import { within } from './silence.ts';
import type { SourceChannel } from './source-channel.ts';
import { allChannels, type SourceConnections, type SourceParts, sentBytesOf } from './source-parts.ts';
import type { Body } from './wire.ts';

/** So small is what is pushed at once: the window is not overrun by much, and the link is busy meanwhile. */
const BATCHES_ON_THEIR_WAY = 4;

/** The destination gave the guest up, or says what cannot be: there is nobody to serve. */
class NobodyThere extends Error {}

export class PageServer {
  readonly #parts: SourceParts;
  readonly #pageSender: PageSender;
  readonly #accessed: PageSet;
  /** What the destination lacked when it was handed the guest. */
  readonly #missing: PageSet;
  readonly #counts = { demanded: 0, hits: 0 };
  /** Of the push. What is demanded does not wait for it. */
  readonly #limit: BandwidthLimit;
  #unsent: PageSet;
  /** What was demanded, on another connection, before it was known what the destination lacks. */
  #early: Set<number> | undefined;
  #order: PushOrder;
  #connections: SourceConnections;
  /** How much may be on its way on these connections, and the pages with content that had been sent before. */
  #window = new PushWindow();
  #countedPages: number;
  /** When those demanded pages were sent, on the priority channel, that have not been placed. */
  #demandedAtMs: number[] = [];
  /** When what has not been counted yet was begun: it may be placed before this thread is back from sending it. */
  #sendingSinceMs = 0;
  /** Pages that were sent before the switch. */
  readonly #earlierPages: number;
  /** Of connections that were lost. */
  #earlierBytes = 0;
  #complete = Promise.withResolvers<void>();
  #lost: Error | undefined;
  /** Ends the push's wait for something to do. */
  #wake: () => void = () => {};

  /**
   * To be made before COMMIT is sent: from then on pages may be demanded.
   *
   * @param missing the pages that the destination lacks
   * @param accessed what the guest has lately accessed, for an order that asks for it
   */
  constructor(parts: SourceParts, pageSender: PageSender, missing: PageSet, accessed: PageSet) {
    this.#parts = parts;
    this.#pageSender = pageSender;
    this.#accessed = accessed;
    this.#limit = new BandwidthLimit(parts.data.options.maxPostcopyBandwidthBytesPerS);
    this.#missing = missing;
    this.#unsent = PageSet.fromBitmap(missing.pageCount, missing.bitmap);
    this.#order = pushOrder(parts.data.options, this.#unsent, accessed);
    this.#connections = parts;
    this.#countedPages = pageSender.counts.dataPages;
    this.#earlierPages = pagesOf(pageSender);
    parts.board.owedPages = missing.size;
    this.#listen();
  }

  /** Bytes of the migration so far, on all connections that it had. */
  get sentBytes(): number {
    return this.#earlierBytes + sentBytesOf(this.#connections);
  }

  /** @param sentBytes of this part of the migration */
  report(sentBytes: number): PostcopySourceReport {
    const { demanded, hits } = this.#counts;
    return {
      missingPages: BigInt(this.#missing.size),
      pushedPages: BigInt(this.#pushedPages),
      demandedPages: BigInt(demanded),
      prefetchHits: BigInt(hits),
      sentBytes: BigInt(sentBytes),
    };
  }

  /** Not by batches: one that a lost link ends is sent in part. */
  get #pushedPages(): number {
    return pagesOf(this.#pageSender) - this.#earlierPages - this.#counts.demanded;
  }

  /** Sends everything that is missing; resolves when the destination has it. @throws when it never will */
  async serve(): Promise<void> {
    const { board, silence, failpoints } = this.#parts;
    this.#pageSender.limit = this.#limit;
    Object.assign(board, { roundPages: this.#missing.size, roundPagesSent: 0, roundStartMs: nowMs() });
    // What was estimated before the switch says nothing about the push.
    const unknown = { bandwidthBytesPerS: 0, pageBytes: 0, dirtyRatePagesPerS: 0, expectedDowntimeMs: 0 };
    Object.assign(board, unknown);
    board.roundStartBytes = this.sentBytes;
    const alive = setInterval(() => this.#main.sender.send('ALIVE', {}), MOVER_LIMITS.aliveIntervalMs);
    try {
      board.phase = MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE;
      await failpoints.reach('postcopy-active');
      for (let lost: Error | undefined; ; ) {
        try {
          if (lost !== undefined) await this.#recover(lost);
          await this.#pushAll();
          await silence.during('COMPLETE', this.#complete.promise);
          break;
        } catch (error) {
          if (error instanceof NobodyThere) throw error;
          lost = error instanceof Error ? error : new Error(String(error));
        }
      }
      board.owedPages = 0;
      await failpoints.reach('after-complete');
    } finally {
      clearInterval(alive);
    }
  }

  get #main(): SourceChannel {
    return this.#connections.channels[0] as SourceChannel;
  }

  /** Hears what the destination says on the connections as they are now. */
  #listen(): void {
    const main = this.#main;
    const complete = Promise.withResolvers<void>();
    complete.promise.catch(() => {});
    this.#complete = complete;
    this.#window = new PushWindow();
    this.#countedPages = this.#pageSender.counts.dataPages;
    this.#lost = undefined;
    main.answer('ALIVE', () => {});
    const asks = this.#connections.priority ?? main;
    asks.answer('REQUEST', (body) => this.#onRequest(asks, body));
    this.#demandedAtMs = [];
    const { priority } = this.#connections;
    priority?.answer('PLACED', () => this.#onDemandedPlaced(priority));
    main.answer('PLACED', ({ bytes }) => this.#onPlaced(main, bytes));
    main.answer('COMPLETE', () => complete.resolve());
    main.answer('FAILURE', ({ reason }) => main.lose(new NobodyThere(`the destination gave up: ${reason}`)));
    for (const channel of allChannels(this.#connections)) {
      channel.onLost((error) => {
        this.#lost ??= error;
        complete.reject(error);
        this.#wake();
      });
    }
  }

  #onRequest(channel: SourceChannel, { pages }: Body<'REQUEST'>): void {
    if (this.#early !== undefined) {
      for (const page of pages) this.#early.add(page);
      return;
    }
    for (const page of pages) {
      if (!this.#missing.has(page)) {
        channel.lose(new WireViolation(`REQUEST asks for page ${page}, which was not missing`));
        return;
      }
      this.#parts.board.postcopyRequests++;
      this.#order.demanded(page);
      if (this.#unsent.delete(page)) {
        this.#counts.demanded++;
        this.#sendDemanded(page);
      } else {
        this.#counts.hits++;
      }
    }
    this.#wake();
  }

  /** On the priority channel it is no part of the push, but a measure of what that does. */
  #sendDemanded(page: number): void {
    const { priority } = this.#connections;
    this.#countSent();
    this.#sendingSinceMs = nowMs();
    this.#pageSender.sendOne(page, priority?.sender);
    if (priority === undefined) {
      this.#countSent();
      return;
    }
    const { dataPages } = this.#pageSender.counts;
    if (dataPages > this.#countedPages) this.#demandedAtMs.push(this.#sendingSinceMs);
    this.#countedPages = dataPages;
  }

  #onDemandedPlaced(priority: SourceChannel): void {
    const sentAtMs = this.#demandedAtMs.shift();
    if (sentAtMs !== undefined) this.#window.waited(nowMs() - sentAtMs);
    else priority.lose(new WireViolation('PLACED tells of a demanded page that was not sent'));
  }

  #onPlaced(main: SourceChannel, bytes: number): void {
    // Of a batch that a limit holds up, the first frames may have been placed already.
    this.#countSent();
    if (this.#window.placed(bytes, nowMs())) this.#wake();
    else main.lose(new WireViolation(`PLACED tells of ${bytes} bytes more than were sent`));
  }

  /** What has been sent since the last time is on its way. */
  #countSent(): void {
    const { dataPages } = this.#pageSender.counts;
    this.#window.sent((dataPages - this.#countedPages) * PAGE_BYTES, this.#sendingSinceMs);
    this.#countedPages = dataPages;
  }

  async #pushAll(): Promise<void> {
    const { board, signal } = this.#parts;
    // No more than a frame of the limit: what is taken is gone, and a vCPU may ask for it meanwhile.
    const batch = new Uint32Array(Math.min(MOVER_LIMITS.pushPagesMax, this.#limit.framePagesMax));
    while (this.#unsent.size > 0) {
      signal.throwIfAborted();
      if (this.#lost !== undefined) throw this.#lost;
      const count = this.#takeNext(batch);
      this.#sendingSinceMs = nowMs();
      if (count === 0) await this.#demanded();
      else await this.#pageSender.send(batch.subarray(0, count).sort(), 0, count, () => true);
      this.#countSent();
      board.roundPagesSent = this.#missing.size - this.#unsent.size;
      board.postcopyPushedPages = this.#pushedPages;
      board.transferredBytes = this.sentBytes;
      // What is demanded wants to be heard.
      await setImmediate();
      while (this.#window.isFull && this.#lost === undefined) await this.#room();
    }
  }

  /** Until the destination has placed more, or the link is lost. */
  async #room(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await this.#parts.silence.during('room for more pages', promise);
  }

  /** The next pages of the order; they are as good as sent. */
  #takeNext(batch: Uint32Array): number {
    let count = 0;
    const countMax = Math.min(batch.length, this.#window.limitBytes / BATCHES_ON_THEIR_WAY / PAGE_BYTES);
    while (count < countMax) {
      const page = this.#order.next() ?? this.#overdue();
      if (page === undefined) break;
      this.#unsent.delete(page);
      batch[count++] = page;
    }
    return count;
  }

  /** Demand paging alone might never end: when the migration's time is up, the rest is pushed. */
  #overdue(): number | undefined {
    const page = this.#timeLeftMs() > 0 ? NO_PAGE : this.#unsent.atOrAfter(0);
    return page === NO_PAGE ? undefined : page;
  }

  #timeLeftMs(): number {
    const { acceptedAtMs, options } = this.#parts.data;
    return acceptedAtMs + options.totalTimeLimitMs - nowMs();
  }

  /** Until a page was demanded, the time is up, or the link is lost. */
  async #demanded(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, Math.max(this.#timeLeftMs(), 0));
    try {
      await this.#parts.silence.during('a sign of life', promise);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits until the destination has connected again, and takes over what it lacks. */
  async #recover(why: Error): Promise<void> {
    const { data, board, silence, failpoints, signal } = this.#parts;
    const cause = this.#lost ?? why;
    const lastWord = await this.#lastWord();
    if (signal.aborted) throw new NobodyThere(errorText(signal.reason));
    for (const channel of allChannels(this.#connections)) channel.lose(new Error(why.message));
    for (const error of [cause, lastWord]) if (error instanceof NobodyThere) throw error;
    board.phase = MigrationPhase.MIGRATION_PHASE_POSTCOPY_PAUSED;
    await failpoints.reach('postcopy-paused');
    this.#earlierBytes = this.sentBytes;
    // The destination may notice later than this side that the link is lost.
    const limitMs = DEADLINES_MS.dataSilence + data.options.recoveryLimitMs * PATIENCE;
    const withinMs = isRecoveredByHand(data.options) ? Number.POSITIVE_INFINITY : limitMs;
    this.#connections = await within(this.#parts.reconnected(), withinMs, signal).catch(() => {
      if (signal.aborted) throw new NobodyThere(errorText(signal.reason));
      throw new NobodyThere(`${cause.message}; it did not come back within ${withinMs / 1000} s`);
    });
    board.phase = MigrationPhase.MIGRATION_PHASE_POSTCOPY_RECOVER;
    this.#early = new Set();
    this.#listen();
    this.#pageSender.senders = this.#connections.channels.map(({ sender }) => sender);
    await silence.during('what it lacks', this.#hearLacking());
    await failpoints.reach('postcopy-recover');
    board.phase = MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE;
  }

  /**
   * How the main connection ends, if it does in time. A destination that gives up says so there before it ends all of
   * them, and the end of another may be noticed first.
   */
  async #lastWord(): Promise<Error | undefined> {
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.#main.onLost(resolve);
    return await within(promise, DEADLINES_MS.lastWord, this.#parts.signal).catch(() => undefined);
  }

  async #hearLacking(): Promise<void> {
    const main = this.#main;
    const receiver = new LackingReceiver(this.#missing);
    const heard = Promise.withResolvers<void>();
    main.answer('LACKING', (part) => {
      try {
        const lacking = receiver.take(part);
        if (lacking === undefined) return;
        main.answer('LACKING', undefined);
        // At once: what is demanded may come right behind it.
        this.#unsent = lacking;
        this.#order = pushOrder(this.#parts.data.options, lacking, this.#accessed);
        const pages = [...(this.#early ?? [])];
        this.#early = undefined;
        this.#onRequest(this.#connections.priority ?? main, { pages });
        heard.resolve();
      } catch (error) {
        main.lose(new WireViolation((error as Error).message));
      }
    });
    // Rejects when the link is lost again.
    await Promise.race([heard.promise, this.#complete.promise]);
  }
}

/** How many it has sent so far. */
function pagesOf({ counts }: PageSender): number {
  return counts.dataPages + counts.zeroPages;
}
