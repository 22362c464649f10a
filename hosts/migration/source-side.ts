/**
 * What a technique sees of the source: four steps from which it is made (techniques/). This file is the
 * rounds; the pause and what follows is switchover.ts.
 */

import { nextTick } from 'node:process';
import type {
  Decision,
  FreePagesReport,
  NetworkEstimate,
  PostcopySourceReport,
  RoundReport,
  ThrottleReport,
  TransformReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { firstQueuePage } from '../../proto/guest-network.ts';
import { hasLatePages } from '../../proto/migration-options.ts';
import type { FailpointName } from '../../proto/names.ts';
import { FAILPOINTS } from '../../proto/names.ts';
import { comparesGuests, transformsOf } from '../../proto/transforms.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { collectDirtyPages, PageTable } from '../guest/page-table.ts';
import { pageCountOf } from '../guest/shared-guest.ts';
import { MovePhase } from '../transform/page-batch.ts';
import { PageEncoder } from '../transform/page-encoder.ts';
import { hasBatches, stagesOf } from '../transform/registry.ts';
import { BandwidthLimit } from './bandwidth-limit.ts';
import { WireViolation } from './channel-receiver.ts';
import { Estimates } from './estimates.ts';
import { MOVER_LIMITS } from './limits.ts';
import { LinkEstimator } from './link-estimator.ts';
import { PageSender } from './page-sender.ts';
import { PageServer } from './page-server.ts';
import { PageSet } from './page-set.ts';
import { DecisionLog } from './precopy/decision-log.ts';
import type { Governor } from './precopy/governor.ts';
import { governorsOf } from './precopy/governors.ts';
import { PageSelection } from './precopy/page-selection.ts';
import type { PrecopyView } from './precopy/precopy-view.ts';
import { RoundsEnd } from './precopy/rounds-end.ts';
import { Reins } from './precopy/throttles/reins.ts';
import { pauseFor } from './silence.ts';
import { type SourceParts, sentBytesOf, streamBytesOf } from './source-parts.ts';
import { SwitchRequest } from './switch-request.ts';
import { Switchover } from './switchover.ts';

const MS_PER_S = 1000;

/** What is known of a round when its pages have been sent. */
type SentRound = Pick<
  RoundReport,
  | 'round'
  | 'final'
  | 'startMs'
  | 'pages'
  | 'zeroPages'
  | 'sentBytes'
  | 'resentPages'
  | 'skippedPages'
  | 'freePages'
>;

export class SourceSide {
  readonly rounds: RoundReport[] = [];
  readonly switching: Switchover;
  readonly #parts: SourceParts;
  readonly #control: ControlBlock;
  readonly #pageTable: PageTable;
  /** What pages pass in batches, if anything. */
  readonly #encoder: PageEncoder | undefined;
  readonly #pageSender: PageSender;
  readonly #link: LinkEstimator;
  readonly #estimates: Estimates;
  readonly #log = new DecisionLog();
  /** What steers the rounds. */
  readonly #governors: readonly Governor[];
  /** What slows the guest, if a rule does. */
  readonly #reins: Reins | undefined;
  #nextTickMs = 0;
  readonly #roundsEnd: RoundsEnd;
  readonly #pages: Uint32Array;
  /** Which of them are sent now. */
  readonly #selection: PageSelection;
  /** Of this round: not in place at the destination. */
  readonly #wanted: number[] = [];
  /** When the pages of the pause had left. */
  #finalPagesSent: Promise<number> = Promise.resolve(0);
  /** The pages that are to follow when the guest runs at the destination, and who sends them. */
  #missing: PageSet | undefined;
  #server: PageServer | undefined;
  /** What it had sent when the destination had every page. */
  #servedBytes: number | undefined;

  constructor(parts: SourceParts) {
    this.#parts = parts;
    const { shared, options } = parts.data;
    const pageCount = pageCountOf(shared.spec);
    this.#control = new ControlBlock(shared.control, shared.spec.vcpuCount);
    this.#pageTable = new PageTable(shared.pageTable, pageCount);
    this.#pages = new Uint32Array(pageCount);
    this.#selection = new PageSelection(parts);
    const limit = new BandwidthLimit(options.maxBandwidthBytesPerS);
    const senders = parts.channels.map(({ sender }) => sender);
    const transforms = transformsOf(options);
    const { gang } = parts.data;
    const context = { transforms, shared, channelCount: senders.length, gang, offered: parts.offered };
    this.#encoder = hasBatches(transforms)
      ? new PageEncoder(transforms, stagesOf(context), parts.silence)
      : undefined;
    const pageTransforms = { zero: transforms.zero, encoder: this.#encoder };
    this.#pageSender = new PageSender(shared.memory, senders, limit, parts.signal, pageTransforms);
    this.#link = new LinkEstimator(() => streamBytesOf(parts));
    this.#estimates = new Estimates(this.#link);
    this.#pageSender.onSent = (...frame) => this.#link.sent(...frame);
    this.#roundsEnd = new RoundsEnd({
      ...{ options, acceptedAtMs: parts.data.acceptedAtMs, memoryBytes: Number(shared.spec.memoryBytes) },
      ...{ switchRequest: new SwitchRequest(parts.data.switchRequest), log: this.#log, say: parts.say },
    });
    this.#reins = Reins.of(shared, this.#control, options);
    const steered = { pageSender: this.#pageSender, link: this.#link, log: this.#log, reins: this.#reins };
    this.#governors = governorsOf({ parts, ...steered });
    if (comparesGuests(transforms)) this.#answerWanted();
    this.#answerArrived();
    this.switching = new Switchover(parts, this.#control);
  }

  /** Why the rounds ended; empty while they go on, and for techniques that do not iterate. */
  get convergence(): string {
    return this.#roundsEnd.reason;
  }

  get counts(): PageSender['counts'] {
    return this.#pageSender.counts;
  }

  /** What each transform of pages did. */
  transformReports(): TransformReport[] {
    return this.#pageSender.reports();
  }

  /** What became of the guest's free pages, if they are not sent as others. */
  freePagesReport(): FreePagesReport | undefined {
    return this.#selection.freePagesReport();
  }

  /** Before the technique begins. */
  async begin(): Promise<void> {
    await this.#selection.begin();
  }

  /** What rules did so far. */
  get decisions(): readonly Decision[] {
    return this.#log.decisions;
  }

  /** How the guest was slowed, if a rule was to. */
  get throttleReport(): ThrottleReport | undefined {
    return this.#reins?.report();
  }

  /** What the link gave while the migration ran. */
  get networkEstimates(): readonly NetworkEstimate[] {
    return this.#link.estimates;
  }

  /** Ends the threads that it started, and lets go of the guest's reins. */
  async close(): Promise<void> {
    this.endGovernors();
    this.#selection.end();
    await this.#encoder?.close();
  }

  /**
   * Sends every page. What is written from its beginning on is dirty. While the guest runs it also waits until the
   * destination stands by: only then is it known what a pause would have to send.
   */
  async sendAll(): Promise<void> {
    const writtenCount = this.#collect();
    this.#selection.firstRoundBegins(this.#pages, writtenCount, this.switching.isPaused);
    await this.#round(this.#pages.length);
    const { silence, standby } = this.#parts;
    await silence.during('STANDBY', standby);
  }

  /** Sends the pages that were written since they were last sent. */
  async sendDirty(): Promise<void> {
    const pageCount = this.#collect();
    this.#selection.roundBegins(this.#pages, pageCount, this.switching.isPaused);
    await this.#round(pageCount);
  }

  /** Takes the dirty marks off the pages that have one: they are the first of `#pages`. Answers how many they are. */
  #collect(): number {
    this.#selection.beforeCollection();
    const pageCount = collectDirtyPages(this.#pageTable, this.#control, this.#pages);
    this.#encoderBegins(pageCount);
    return pageCount;
  }

  /** The first so many of `#pages` were collected for a round that begins. */
  #encoderBegins(pageCount: number): void {
    // Not what the options say: a rule may have set another limit, and in the pause there may be none.
    this.#encoder?.roundBegins(this.#pages.subarray(0, pageCount), this.#pageSender.limit.bytesPerS);
  }

  /** The destination says at any time what has arrived. */
  #answerArrived(): void {
    const [main] = this.#parts.channels;
    main?.answer('ARRIVED', ({ bytes, ...arrived }) => {
      if (!this.#link.arrived(arrived, nowMs())) {
        main.lose(new WireViolation(`ARRIVED tells of ${arrived.receivedBytes} bytes, which cannot be`));
        return;
      }
      this.#encoder?.placed(bytes);
    });
  }

  /** Pages that went as a digest and that the destination has not got: they are sent again. */
  #answerWanted(): void {
    for (const channel of this.#parts.channels) {
      channel.answer('WANTED', ({ pages }) => {
        for (const page of pages) {
          if (this.#encoder?.refused(page) === true) {
            this.#wanted.push(page);
            continue;
          }
          channel.lose(new WireViolation(`WANTED names page ${page}, which did not go as a digest`));
          return;
        }
      });
    }
  }

  /**
   * Post-copy: sends no page in the pause but the queues of the guest's NIC, if it has one, which may not wait;
   * the destination lacks all others.
   */
  async sendNothing(): Promise<void> {
    const missing = PageSet.all(this.#pages.length);
    const firstPage = firstQueuePage(this.#parts.data.shared.spec);
    let pageCount = 0;
    for (let page = firstPage; page < this.#pages.length; page++) {
      this.#pages[pageCount++] = page;
      missing.delete(page);
    }
    this.#encoderBegins(pageCount);
    this.#selection.leaveOutOf(missing);
    this.#missing = missing;
    await this.#round(pageCount);
  }

  /**
   * Hybrid: sends no page in the pause but those of the hot set (Sahni and Varma, CCEM 2012), if there is one,
   * and what is dirty of the queues of the guest's NIC; the destination lacks what else was written since it
   * was last sent.
   */
  async sendDirtyBitmap(): Promise<void> {
    const dirtyPages = this.#collect();
    this.#selection.roundBegins(this.#pages, dirtyPages, true);
    const missing = new PageSet(this.#pages.length);
    const { options, shared } = this.#parts.data;
    const queuePage = firstQueuePage(shared.spec);
    const hotPagesMax = Math.floor(options.hotSet * this.#pages.length);
    let pageCount = 0;
    for (let index = 0; index < dirtyPages; index++) {
      const page = this.#pages[index] as number;
      const isHot = pageCount < hotPagesMax && this.#pageTable.isAccessed(page);
      if (this.#selection.leaves(page)) this.#selection.left(page);
      else if (isHot || page >= queuePage) this.#pages[pageCount++] = page;
      else missing.add(page);
    }
    this.#missing = missing;
    await this.#round(pageCount);
  }

  /** After a switchover without all pages: sends the rest to the guest that runs at the destination. */
  async serveAndPush(): Promise<void> {
    this.#pageSender.phase = MovePhase.SWITCHED;
    // The destination does not say any more what has arrived.
    this.#pageSender.onSent = undefined;
    await this.#server?.serve();
    this.#servedBytes = this.sentBytes - this.switching.sentBytes.committed;
  }

  /**
   * Whether the round before this was the last: the rule says so, somebody wants it so, or the limits are reached.
   *
   * @throws when the guest does not converge within the limits and the options say to give up then
   */
  roundsAreOver(): boolean {
    const view = this.#view();
    this.#parts.board.expectedDowntimeMs = this.#estimates.expectedDowntimeMs(view.dirtyPages) ?? 0;
    return this.#roundsEnd.decide(view);
  }

  /** Whether the rounds have ended for a switch to post-copy, which was not asked for from the beginning. */
  get goesOnAsPostCopy(): boolean {
    return this.#roundsEnd.goesOnAsPostCopy;
  }

  /**
   * Pauses the guest, has the final pages sent, and hands the guest over. When it answers the guest runs at
   * the destination.
   *
   * @param finalPages sends what the destination needs to run the guest
   * @throws when the guest stays here
   */
  async switchover(finalPages: () => Promise<void>): Promise<void> {
    const { options } = this.#parts.data;
    const hasLate = hasLatePages(options) || this.goesOnAsPostCopy;
    const isWatched = hasLate && (options.accessedFirst || options.hotSet > 0);
    if (isWatched) await this.#watchAccesses();
    // Before the pause, which it would lengthen.
    const accessed = accessedPages(this.#pageTable, isWatched && options.accessedFirst);
    await this.switching.pause();
    // Not before: a guest that ran free until then would dirty what the rounds have gained.
    this.endGovernors();
    this.#pageSender.phase = MovePhase.PAUSED;
    const { maxBandwidthBytesPerS, limitFinalRound } = options;
    if (maxBandwidthBytesPerS > 0 && !limitFinalRound) this.#pageSender.limit = new BandwidthLimit(0);
    await finalPages();
    const handedOver = this.switching.handOver(this.#finalPagesSent, this.#missing);
    // While the destination takes these pages away from the guest, and before COMMIT.
    if (this.#missing !== undefined) {
      this.#server = new PageServer(this.#parts, this.#pageSender, this.#missing, accessed);
    }
    await handedOver;
  }

  /** From its beginning to the switch, what the guest accesses is marked. */
  async #watchAccesses(): Promise<void> {
    this.#pageTable.clearAccessed();
    await pauseFor(MOVER_LIMITS.accessWindowMs, this.#parts.signal);
  }

  /**
   * One pass: sends the first `pageCount` of `#pages` and waits until the destination has placed them. In the pause
   * it waits for nothing: what follows goes right behind.
   */
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
    this.#selection.note(round, this.#log);
    const { skipped, free } = this.#selection.counts;
    const sent: SentRound = {
      round,
      final,
      startMs,
      pages: BigInt(this.counts.dataPages + this.counts.zeroPages - before.dataPages - before.zeroPages),
      skippedPages: BigInt(skipped),
      freePages: BigInt(free),
      zeroPages: BigInt(this.counts.zeroPages - before.zeroPages),
      sentBytes: BigInt(this.sentBytes - startBytes),
      resentPages: BigInt(this.counts.resentPages - before.resentPages),
    };
    if (final) {
      // READY will say that all is in place; what counts here is when it had left, and nobody waits for that.
      const left = Promise.all(channels.map(({ sender }) => sender.flushed()));
      this.#finalPagesSent = left.then((times) => this.#noteRound(sent, Math.max(...times), 0, 0));
      this.#finalPagesSent.catch(() => {});
      // What the system has taken at once is noted now, and not after all that follows.
      await new Promise<void>(nextTick);
      return;
    }
    const done = await silence.during('the end of a round', Promise.all(answers));
    const liar = channels.find((_, index) => done[index]?.round !== round);
    liar?.lose(new WireViolation(`ROUND_DONE is not of round ${round}`));
    signal.throwIfAborted();
    this.#encoder?.roundEnded();
    const endMs = nowMs();
    const dirtiedPages = this.#pageTable.countDirty();
    this.#selection.roundEnded();
    for (let index = sentCount; index < pageCount; index++) {
      this.#pageTable.markDirty(this.#pages[index] as number);
    }
    const isUnfinished = sentCount < pageCount || this.#wanted.length > 0 || skipped > 0;
    for (const page of this.#wanted.splice(0)) this.#pageTable.markDirty(page);
    const dirtyPagesAfter = isUnfinished ? this.#pageTable.countDirty() : dirtiedPages;
    this.#noteRound(sent, endMs, dirtiedPages, dirtyPagesAfter);
    if (this.#governors.length > 0) {
      const view = this.#view();
      for (const governor of this.#governors) governor.roundEnded(view);
    }
  }

  /**
   * A round is over. Answers `endMs`.
   *
   * @param dirtiedPages that were written meanwhile
   * @param dirtyPagesAfter that are to be sent now
   */
  #noteRound(sent: SentRound, endMs: number, dirtiedPages: number, dirtyPagesAfter: number): number {
    const durationMs = endMs - sent.startMs;
    // A dirty page costs what those cost that were not found elsewhere: nobody else has what was just written.
    const referenced = this.#encoder?.takeReferencedPages() ?? 0;
    const dataPages = Number(sent.pages - sent.zeroPages) - referenced;
    this.#estimates.addRound(Number(sent.sentBytes), durationMs, dirtiedPages, dataPages);
    const { bandwidthBytesPerS, dirtyRatePagesPerS, pageBytes } = this.#estimates;
    const expectedDowntimeMs = this.#estimates.expectedDowntimeMs(dirtyPagesAfter) ?? 0;
    Object.assign(this.#parts.board, {
      bandwidthBytesPerS,
      dirtyRatePagesPerS,
      expectedDowntimeMs,
      pageBytes,
    });
    this.#report();
    this.rounds.push({
      ...sent,
      durationMs,
      dirtyPagesAfter: BigInt(dirtyPagesAfter),
      dirtyRatePagesPerS: (dirtiedPages / Math.max(durationMs, Number.EPSILON)) * MS_PER_S,
      bandwidthBytesPerS,
      expectedDowntimeMs,
    });
    return endMs;
  }

  /**
   * Sends the pages, with the failpoints of a round in its middle. Answers how many it sent: all, unless time
   * is up.
   */
  async #sendPages(round: number, final: boolean, pageCount: number): Promise<number> {
    const { failpoints, board, signal } = this.#parts;
    const startPages = this.#turnsTaken;
    const keepOn = (): boolean => {
      signal.throwIfAborted();
      board.roundPagesSent = this.#turnsTaken - startPages;
      this.#selection.learn();
      this.#report();
      if (final) return true;
      this.#tick();
      return !this.#roundsEnd.endsRound({
        ...{ nowMs: nowMs(), round, pageCount: this.#pages.length },
        sentPages: this.counts.dataPages + this.counts.zeroPages,
        pendingPages: () => this.#pageTable.countDirty() + (board.roundPages - board.roundPagesSent),
      });
    };
    const points = failpointsOf(round, final).filter((point) => failpoints.has(point));
    const middle = points.length > 0 ? Math.floor(pageCount / 2) : pageCount;
    const { filter } = this.#selection;
    let sentCount = await this.#pageSender.send(this.#pages, 0, middle, keepOn, filter);
    for (const point of points) await failpoints.reach(point);
    if (sentCount === middle) {
      sentCount = await this.#pageSender.send(this.#pages, middle, pageCount, keepOn, filter);
    }
    keepOn();
    return sentCount;
  }

  /** Pages whose turn has come: sent so far, and left in this round. */
  get #turnsTaken(): number {
    const { skipped, free } = this.#selection.counts;
    return this.counts.dataPages + this.counts.zeroPages + skipped + free;
  }

  #tick(): void {
    if (this.#governors.length === 0 || nowMs() < this.#nextTickMs) return;
    this.#nextTickMs = nowMs() + MOVER_LIMITS.governorTickMs;
    const view = this.#view();
    for (const governor of this.#governors) governor.tick(view);
  }

  /** The rounds are over, or the migration is: nobody slows the guest any more. */
  endGovernors(): void {
    for (const governor of this.#governors) governor.end();
  }

  #view(): PrecopyView {
    const { board, data } = this.#parts;
    const dirtyPages = this.#pageTable.countDirty();
    return {
      nowMs: nowMs(),
      acceptedAtMs: data.acceptedAtMs,
      pageCount: this.#pages.length,
      rounds: this.rounds,
      round: board.round,
      roundStartMs: board.roundStartMs,
      roundPages: board.roundPages,
      sentPages: this.counts.dataPages + this.counts.zeroPages,
      sentBytes: this.sentBytes,
      dirtyPages,
      bandwidthBytesPerS: this.#estimates.bandwidthBytesPerS,
      dirtyRatePagesPerS: this.#estimates.dirtyRatePagesPerS,
      pageBytes: this.#estimates.pageBytes,
    };
  }

  #report(): void {
    const { board } = this.#parts;
    board.transferredBytes = this.sentBytes;
    board.bandwidthBytesPerS = this.#estimates.bandwidthBytesPerS;
    board.roundTripMs = this.#link.roundTripMs ?? Number.NaN;
    board.leastRoundTripMs = this.#link.leastRoundTripMs ?? Number.NaN;
  }

  /** Bytes given to all sockets so far. */
  get sentBytes(): number {
    return this.#server?.sentBytes ?? sentBytesOf(this.#parts);
  }

  /** Once the guest has been handed over without all its pages. */
  postcopyReport(): PostcopySourceReport | undefined {
    if (!this.switching.isCommitted) return undefined;
    return this.#server?.report(this.#servedBytes ?? this.sentBytes - this.switching.sentBytes.committed);
  }
}

/** The pages that the guest has lately accessed, if anybody wants to know. */
function accessedPages(pageTable: PageTable, wanted: boolean): PageSet {
  const accessed = new PageSet(pageTable.pageCount);
  for (let page = 0; wanted && page < pageTable.pageCount; page++) {
    if (pageTable.isAccessed(page)) accessed.add(page);
  }
  return accessed;
}

/** The failpoints in the middle of a round. */
function failpointsOf(round: number, final: boolean): FailpointName[] {
  return FAILPOINTS.filter((point) => point === `round-${round}` || (final && point === 'final-pages'));
}
