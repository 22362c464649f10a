/**
 * From a list of pages to PAGES frames: finds the pages of zeroes, sends long runs from guest memory without
 * a copy, gathers short ones, each page on the channel of its stripe. It waits only when a channel is full or
 * the bandwidth limit asks for a wait: a page costs no await.
 */

import { setImmediate } from 'node:timers/promises';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import type { BandwidthLimit } from './bandwidth-limit.ts';
import type { ChannelSender } from './channel-sender.ts';
import { MOVER_LIMITS, WIRE_LIMITS } from './limits.ts';
import { pauseFor } from './silence.ts';
import { channelOf, type PageRun, RunKind, STRIPE_PAGES } from './wire.ts';
import { isZeroPage } from './zero-page.ts';

/** What a pass over pages has counted. */
export interface PageCounts {
  dataPages: number;
  zeroPages: number;
  /** Of both kinds, those that had been sent before. */
  resentPages: number;
  /** Of the data pages only. */
  resentBytes: number;
}

/** Short runs on their way into one frame. */
interface Gathering {
  readonly sender: ChannelSender;
  runs: PageRun[];
  pages: number;
  buffer: Buffer | undefined;
}

/** May end a pass early: asked after each frame. */
export type KeepOn = () => boolean;

export class PageSender {
  readonly counts: PageCounts = { dataPages: 0, zeroPages: 0, resentPages: 0, resentBytes: 0 };
  readonly #memory: Buffer;
  readonly #words: Int32Array;
  readonly #sentBefore: Uint8Array;
  readonly #signal: AbortSignal;
  #gatherings: readonly Gathering[];
  readonly #buffers: Buffer[] = [];
  #limit: BandwidthLimit;
  #framePagesMax = 1;
  /**
   * Since the last look: whether a frame was sent, how long the limit wants a pause, and which channel is
   * full.
   */
  #sent = false;
  #waitMs = 0;
  #full: ChannelSender | undefined;

  /**
   * @param memory the guest's
   * @param senders one for each channel
   */
  constructor(
    memory: SharedArrayBuffer,
    senders: readonly ChannelSender[],
    limit: BandwidthLimit,
    signal: AbortSignal,
  ) {
    this.#memory = Buffer.from(memory);
    this.#words = new Int32Array(memory);
    this.#sentBefore = new Uint8Array(memory.byteLength / PAGE_BYTES);
    this.#limit = limit;
    this.#signal = signal;
    this.#gatherings = gatheringsFor(senders);
    // Made now, since they may first be needed in the pause.
    for (let count = 0; count < 2 * senders.length; count++) this.#buffers.push(gatherBuffer());
  }

  /** Sends one page at once, before what the bandwidth limit holds back. It need not be its stripe's channel. */
  sendOne(page: number, sender: ChannelSender = this.#senderOf(page)): void {
    const isZero = isZeroPage(this.#words, page);
    this.#count(page, 1, isZero);
    const kind = isZero ? RunKind.ZERO : RunKind.DATA;
    const payload = isZero ? undefined : this.#memory.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    sender.sendPages([{ firstPage: page, pageCount: 1, kind }], payload);
  }

  /** The channels were lost, with what was gathered for them: from now on these are in their place. */
  set senders(senders: readonly ChannelSender[]) {
    this.#gatherings = gatheringsFor(senders);
    this.#full = undefined;
    this.#waitMs = 0;
  }

  /** From now on another bandwidth limit holds. */
  set limit(limit: BandwidthLimit) {
    this.#limit = limit;
  }

  /**
   * Sends the pages from `start` up to `end` of an ascending list. All of them have been given to their
   * sockets when it answers.
   *
   * @returns where it stopped: `end`, unless `keepOn` said no
   */
  async send(pages: Uint32Array, start: number, end: number, keepOn: KeepOn): Promise<number> {
    this.#framePagesMax = this.#limit.framePagesMax;
    this.#limit.begin(nowMs());
    let index = start;
    let breatheAtMs = nowMs() + MOVER_LIMITS.breathMs;
    while (index < end) {
      index = this.#sendRun(pages, index, end);
      if (!this.#sent) {
        // Zero pages are only scanned: the socket's other side, cancels and strangers want to be heard meanwhile.
        if (nowMs() > breatheAtMs) {
          await setImmediate();
          breatheAtMs = nowMs() + MOVER_LIMITS.breathMs;
        }
        continue;
      }
      this.#sent = false;
      if (this.#mustWait) await this.#wait();
      if (!keepOn()) break;
    }
    for (const gathering of this.#gatherings) this.#flush(gathering);
    if (this.#mustWait) await this.#wait();
    return index;
  }

  get #mustWait(): boolean {
    return this.#waitMs > 0 || this.#full !== undefined;
  }

  /** Until the channel has room and the limit is kept. */
  async #wait(): Promise<void> {
    const full = this.#full;
    const waitMs = this.#waitMs;
    this.#full = undefined;
    this.#waitMs = 0;
    if (waitMs > 0) await pauseFor(waitMs, this.#signal);
    if (full !== undefined) await full.room();
  }

  /** Takes one run of the same kind, at most a frame's worth in one stripe; answers where the next begins. */
  #sendRun(pages: Uint32Array, start: number, end: number): number {
    const firstPage = pages[start] as number;
    const stripeEnd = (Math.floor(firstPage / STRIPE_PAGES) + 1) * STRIPE_PAGES;
    const isZero = isZeroPage(this.#words, firstPage);
    const pageEnd = isZero ? stripeEnd : Math.min(stripeEnd, firstPage + this.#framePagesMax);
    const endMax = Math.min(end, start + pageEnd - firstPage);
    let index = start + 1;
    let page = firstPage + 1;
    while (index < endMax && pages[index] === page && isZeroPage(this.#words, page) === isZero) {
      index++;
      page++;
    }
    const pageCount = index - start;
    this.#count(firstPage, pageCount, isZero);
    const gathering = this.#gatheringOf(firstPage);
    if (isZero) this.#gatherZero(gathering, firstPage, pageCount);
    else if (pageCount >= MOVER_LIMITS.longRunPagesMin)
      this.#sendLong(gathering.sender, firstPage, pageCount);
    else this.#gather(gathering, firstPage, pageCount);
    return index;
  }

  #gatheringOf(page: number): Gathering {
    return this.#gatherings[channelOf(page, this.#gatherings.length)] as Gathering;
  }

  #senderOf(page: number): ChannelSender {
    return this.#gatheringOf(page).sender;
  }

  #count(firstPage: number, pageCount: number, isZero: boolean): void {
    let resent = 0;
    for (let page = firstPage; page < firstPage + pageCount; page++) {
      resent += this.#sentBefore[page] as number;
      this.#sentBefore[page] = 1;
    }
    this.counts.resentPages += resent;
    if (isZero) {
      this.counts.zeroPages += pageCount;
    } else {
      this.counts.dataPages += pageCount;
      this.counts.resentBytes += resent * PAGE_BYTES;
    }
  }

  #sendLong(sender: ChannelSender, firstPage: number, pageCount: number): void {
    const start = firstPage * PAGE_BYTES;
    const before = sender.sentBytes;
    const run = { firstPage, pageCount, kind: RunKind.DATA };
    sender.sendPages([run], this.#memory.subarray(start, start + pageCount * PAGE_BYTES));
    this.#account(sender, before);
  }

  #gatherZero(gathering: Gathering, firstPage: number, pageCount: number): void {
    if (gathering.runs.length === WIRE_LIMITS.runsMax) this.#flush(gathering);
    gathering.runs.push({ firstPage, pageCount, kind: RunKind.ZERO });
  }

  #gather(gathering: Gathering, firstPage: number, pageCount: number): void {
    const pagesMax = Math.min(this.#framePagesMax, WIRE_LIMITS.gatheredPagesMax);
    if (gathering.runs.length === WIRE_LIMITS.runsMax || gathering.pages + pageCount > pagesMax) {
      this.#flush(gathering);
    }
    // Slow links have small frames in small buffers, so that what waits in the socket does not hold large
    // ones.
    gathering.buffer ??=
      pagesMax < WIRE_LIMITS.gatheredPagesMax
        ? Buffer.allocUnsafeSlow(pagesMax * PAGE_BYTES)
        : (this.#buffers.pop() ?? gatherBuffer());
    const start = firstPage * PAGE_BYTES;
    // Not Buffer.copy: it takes its offsets modulo 4 GiB (Node 24).
    gathering.buffer.set(
      this.#memory.subarray(start, start + pageCount * PAGE_BYTES),
      gathering.pages * PAGE_BYTES,
    );
    gathering.runs.push({ firstPage, pageCount, kind: RunKind.DATA });
    gathering.pages += pageCount;
  }

  #flush(gathering: Gathering): void {
    const { sender, runs, pages, buffer } = gathering;
    if (runs.length === 0) return;
    gathering.runs = [];
    gathering.pages = 0;
    gathering.buffer = undefined;
    const before = sender.sentBytes;
    sender.sendPages(runs, buffer?.subarray(0, pages * PAGE_BYTES), () => {
      if (buffer?.byteLength === WIRE_LIMITS.gatheredPagesMax * PAGE_BYTES) this.#buffers.push(buffer);
    });
    this.#account(sender, before);
  }

  #account(sender: ChannelSender, sentBytesBefore: number): void {
    this.#sent = true;
    this.#waitMs = Math.max(this.#waitMs, this.#limit.spend(sender.sentBytes - sentBytesBefore, nowMs()));
    if (sender.isFull) this.#full = sender;
  }
}

function gatheringsFor(senders: readonly ChannelSender[]): Gathering[] {
  return senders.map((sender) => ({ sender, runs: [], pages: 0, buffer: undefined }));
}

function gatherBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(WIRE_LIMITS.gatheredPagesMax * PAGE_BYTES);
}
