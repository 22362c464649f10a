/**
 * From a list of pages to PAGES frames: finds the pages of zeroes, sends long runs from guest memory without
 * a copy, gathers short ones, each page on the channel of its stripe. With transforms every page is gathered, and what
 * was gathered passes them as a batch (hosts/transform). It waits only when a channel is full, codec threads have
 * enough to do, or the bandwidth limit asks for a wait: a page costs no await.
 */

import { setImmediate } from 'node:timers/promises';
import type { TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import { batchBuffer, MovePhase, PageBatch } from '../transform/page-batch.ts';
import type { CodedPages, PageEncoder } from '../transform/page-encoder.ts';
import { TransformMeasure } from '../transform/transform-measure.ts';
import type { BandwidthLimit } from './bandwidth-limit.ts';
import type { ChannelSender } from './channel-sender.ts';
import { MOVER_LIMITS, WIRE_LIMITS } from './limits.ts';
import { pauseFor } from './silence.ts';
import { channelOf, type PageRun, RunKind, STRIPE_PAGES, WireCodec } from './wire.ts';
import { isZeroPage } from './zero-page.ts';

const { gatheredPagesMax, runsMax, codedRunsMax } = WIRE_LIMITS;
/** Of so many runs of pages one is timed, to know what the search for zeroes costs. */
const RUNS_PER_SAMPLE = 16;
/** A page takes a microsecond at most: a sample that took much longer for each was not running all the time. */
const SEARCH_MS_MAX = 0.01;
const MS_PER_S = 1000;
const NO_BYTES = Buffer.alloc(0);

/** What a pass over pages has counted. */
export interface PageCounts {
  dataPages: number;
  zeroPages: number;
  /** Of both kinds, those that had been sent before. */
  resentPages: number;
  /** Of the data pages only. */
  resentBytes: number;
}

/** Runs on their way into one frame. */
interface Gathering {
  readonly channel: number;
  readonly sender: ChannelSender;
  runs: PageRun[];
  pages: number;
  buffer: Buffer | undefined;
  /** The batches of this channel that codec threads work on are sent in their order: resolves when all are. */
  coding: Promise<void> | undefined;
}

/** What is done to pages on their way. */
export interface PageTransforms {
  /** Whether pages of zeroes go as marks. */
  readonly zero: boolean;
  /** What batches pass, if anything. */
  readonly encoder: PageEncoder | undefined;
}

/** Leaves pages of a pass out. */
export interface PageFilter {
  /** Asked when a page's turn comes, perhaps more than once. */
  leaves(page: number): boolean;
  /** It was left out. */
  left(page: number): void;
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
  readonly #transforms: PageTransforms;
  /** Pages of runs whose search for zeroes was timed, and what that took. */
  #sampledPages = 0;
  #sampledMs = 0;
  #runsToSample = 0;
  /** A transform has failed. */
  #failure: Error | undefined;
  #limit: BandwidthLimit;
  #framePagesMax = 1;
  /** Of the pass that is under way, and the first page of the last run that it sent. */
  #filter: PageFilter | undefined;
  #lastPage = 0;
  /** How the migration stands. */
  phase: MovePhase = MovePhase.RUNNING;
  /** Is told when a frame is given to a socket, and how long one takes under the limit. */
  onSent: ((byteCount: number, nowMs: number, frameMs: number) => void) | undefined;
  /**
   * Since the last look: whether a frame was sent, how long the limit wants a pause, and which channel is
   * full.
   */
  #sent = false;
  #waitMs = 0;
  /** When the frame that is given to a socket now began to be. */
  #frameAtMs = 0;
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
    transforms: PageTransforms,
  ) {
    this.#transforms = transforms;
    this.#memory = Buffer.from(memory);
    this.#words = new Int32Array(memory);
    this.#sentBefore = new Uint8Array(memory.byteLength / PAGE_BYTES);
    this.#limit = limit;
    this.#signal = signal;
    this.#gatherings = gatheringsFor(senders);
    // Made now, since they may first be needed in the pause.
    for (let count = 0; count < 2 * senders.length; count++) this.#buffers.push(this.#newBuffer());
  }

  /** Sends one page at once, before what the bandwidth limit holds back. It need not be its stripe's channel. */
  sendOne(page: number, sender: ChannelSender = this.#senderOf(page)): void {
    const isZero = this.#isZero(page);
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

  /** The bandwidth limit that holds; from now on another one does. */
  get limit(): BandwidthLimit {
    return this.#limit;
  }

  set limit(limit: BandwidthLimit) {
    // What was not sent under the one before is not made up for.
    limit.begin(nowMs());
    this.#limit = limit;
    this.#framePagesMax = limit.framePagesMax;
    this.#transforms.encoder?.limited(limit.bytesPerS);
  }

  /**
   * Sends the pages from `start` up to `end` of a list, which is ascending or has few places where it is not. All of
   * them have been given to their sockets when it answers, but for those that the filter leaves out.
   *
   * @returns where it stopped: `end`, unless `keepOn` said no
   */
  async send(
    pages: Uint32Array,
    start: number,
    end: number,
    keepOn: KeepOn,
    filter?: PageFilter,
  ): Promise<number> {
    this.#filter = filter;
    this.#lastPage = 0;
    this.#framePagesMax = this.#limit.framePagesMax;
    this.#limit.begin(nowMs());
    let index = start;
    let breatheAtMs = nowMs() + MOVER_LIMITS.breathMs;
    while (index < end) {
      index = this.#sendNext(pages, index, end);
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
      // Coding takes time, in which sockets and codec threads have become ready.
      else if (this.#transforms.encoder !== undefined) await setImmediate();
      if (!keepOn()) break;
    }
    for (const gathering of this.#gatherings) this.#flush(gathering);
    for (const { coding } of this.#gatherings) await coding;
    if (this.#mustWait) await this.#wait();
    return index;
  }

  /** What the search for pages of zeroes did, and what the transforms of batches did. */
  reports(): TransformReport[] {
    const { zero, encoder } = this.#transforms;
    return [...(zero ? [this.#zeroReport()] : []), ...(encoder?.reports() ?? [])];
  }

  #zeroReport(): TransformReport {
    const { dataPages, zeroPages } = this.counts;
    const pages = dataPages + zeroPages;
    const measure = new TransformMeasure('zero', '');
    measure.pagesIn = pages;
    measure.bytesIn = pages * PAGE_BYTES;
    measure.bytesOut = dataPages * PAGE_BYTES;
    measure.hits = zeroPages;
    measure.timeMs = (this.#sampledMs / Math.max(this.#sampledPages, 1)) * pages;
    // Nothing in it waits.
    measure.cpuS = measure.timeMs / MS_PER_S;
    return measure.report();
  }

  get #mustWait(): boolean {
    const isCoding = this.#transforms.encoder?.isFull(this.phase) === true || this.#failure !== undefined;
    return this.#waitMs > 0 || this.#full !== undefined || isCoding;
  }

  /** Until the channel has room, the codec threads have too, and the limit is kept. */
  async #wait(): Promise<void> {
    await this.#transforms.encoder?.room(this.phase);
    if (this.#failure !== undefined) throw this.#failure;
    const full = this.#full;
    const waitMs = this.#waitMs;
    this.#full = undefined;
    this.#waitMs = 0;
    if (waitMs > 0) await pauseFor(waitMs, this.#signal);
    if (full !== undefined) await full.room();
  }

  /** Sends a run, or leaves pages out; answers what comes next. */
  #sendNext(pages: Uint32Array, start: number, end: number): number {
    const next = this.#leave(pages, start, end);
    if (next > start) return next;
    // The runs of a frame ascend.
    const page = pages[start] as number;
    if (page < this.#lastPage) for (const gathering of this.#gatherings) this.#flush(gathering);
    this.#lastPage = page;
    return this.#sendRun(pages, start, end);
  }

  /** Leaves out as many as the filter says, at most a stripe's worth; answers what comes next. */
  #leave(pages: Uint32Array, start: number, end: number): number {
    const filter = this.#filter;
    const endMax = Math.min(end, start + STRIPE_PAGES);
    let index = start;
    while (filter !== undefined && index < endMax && filter.leaves(pages[index] as number)) {
      filter.left(pages[index++] as number);
    }
    return index;
  }

  /** Takes one run of the same kind, at most a frame's worth in one stripe; answers where the next begins. */
  #sendRun(pages: Uint32Array, start: number, end: number): number {
    const firstPage = pages[start] as number;
    const stripeEnd = (Math.floor(firstPage / STRIPE_PAGES) + 1) * STRIPE_PAGES;
    const isZero = this.#isZero(firstPage);
    const { encoder } = this.#transforms;
    const isRaw = encoder === undefined || encoder.isRaw;
    const runPagesMax = isRaw ? this.#framePagesMax : Math.min(this.#framePagesMax, gatheredPagesMax);
    const pageEnd = isZero ? stripeEnd : Math.min(stripeEnd, firstPage + runPagesMax);
    const endMax = Math.min(end, start + pageEnd - firstPage);
    const pageCount = this.#runLength(pages, start, endMax, isZero);
    this.#count(firstPage, pageCount, isZero);
    const gathering = this.#gatheringOf(firstPage);
    if (isZero) this.#gatherZero(gathering, firstPage, pageCount);
    else if (pageCount >= MOVER_LIMITS.longRunPagesMin && isRaw)
      this.#sendLong(gathering.sender, firstPage, pageCount);
    else this.#gather(gathering, firstPage, pageCount);
    return start + pageCount;
  }

  /** How many pages from `start` on follow each other and are of the same kind; of some runs it takes the time. */
  #runLength(pages: Uint32Array, start: number, endMax: number, isZero: boolean): number {
    if (this.#runsToSample-- > 0) return this.#scan(pages, start, endMax, isZero);
    this.#runsToSample = RUNS_PER_SAMPLE;
    const startMs = nowMs();
    const length = this.#scan(pages, start, endMax, isZero);
    const durationMs = nowMs() - startMs;
    if (durationMs <= length * SEARCH_MS_MAX) {
      this.#sampledPages += length;
      this.#sampledMs += durationMs;
    }
    return length;
  }

  #scan(pages: Uint32Array, start: number, endMax: number, isZero: boolean): number {
    const first = (pages[start] as number) - start;
    let index = start + 1;
    while (index < endMax && pages[index] === first + index && this.#isNext(first + index, isZero)) index++;
    return index - start;
  }

  /** Whether a run goes on with this page. */
  #isNext(page: number, isZero: boolean): boolean {
    return this.#isZero(page) === isZero && this.#filter?.leaves(page) !== true;
  }

  #isZero(page: number): boolean {
    return this.#transforms.zero && isZeroPage(this.#words, page);
  }

  /** Runs of a frame: a stage may make of each page of a batch a run of its own. */
  get #frameRunsMax(): number {
    return this.#transforms.encoder === undefined ? runsMax : codedRunsMax - gatheredPagesMax;
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
    const before = this.#beginFrame(sender);
    const run = { firstPage, pageCount, kind: RunKind.DATA };
    this.#transforms.encoder?.sentRaw(pageCount, isBusy(sender));
    sender.sendPages([run], this.#memory.subarray(start, start + pageCount * PAGE_BYTES));
    this.#account(sender, before);
  }

  #gatherZero(gathering: Gathering, firstPage: number, pageCount: number): void {
    if (gathering.runs.length === this.#frameRunsMax) this.#flush(gathering);
    gathering.runs.push({ firstPage, pageCount, kind: RunKind.ZERO });
  }

  #gather(gathering: Gathering, firstPage: number, pageCount: number): void {
    const pagesMax = Math.min(this.#framePagesMax, gatheredPagesMax);
    // Under another limit than this one it may have got a smaller buffer.
    const room = (gathering.buffer?.byteLength ?? Number.POSITIVE_INFINITY) / PAGE_BYTES;
    const isFull = gathering.pages + pageCount > Math.min(pagesMax, room);
    if (gathering.runs.length === this.#frameRunsMax || isFull) this.#flush(gathering);
    // Slow links have small frames in small buffers, so that what waits in the socket does not hold large
    // ones.
    const isSmall = this.#transforms.encoder === undefined && pagesMax < gatheredPagesMax;
    gathering.buffer ??= isSmall
      ? Buffer.allocUnsafeSlow(pagesMax * PAGE_BYTES)
      : (this.#buffers.pop() ?? this.#newBuffer());
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
    const { encoder } = this.#transforms;
    if (runs.length === 0) return;
    gathering.runs = [];
    gathering.pages = 0;
    gathering.buffer = undefined;
    if (encoder !== undefined) {
      this.#encode(
        encoder,
        gathering,
        new PageBatch(gathering.channel, this.phase, runs, buffer ?? NO_BYTES),
      );
      return;
    }
    const before = this.#beginFrame(sender);
    sender.sendPages(runs, buffer?.subarray(0, pages * PAGE_BYTES), () => this.#recycle(buffer));
    this.#account(sender, before);
  }

  /** Sends a batch when it is coded, and those before it of this channel have been sent. */
  #encode(encoder: PageEncoder, gathering: Gathering, batch: PageBatch): void {
    const { sender } = gathering;
    const coded = encoder.encode(batch);
    this.#sent = true;
    if (gathering.coding === undefined && !(coded instanceof Promise)) {
      this.#sendCoded(sender, coded, batch);
      return;
    }
    const earlier = gathering.coding;
    const send = async (): Promise<void> => {
      const pages = await coded;
      await earlier;
      this.#sendCoded(sender, pages, batch);
      if (gathering.coding === coding) gathering.coding = undefined;
    };
    const coding: Promise<void> = send();
    gathering.coding = coding;
    coding.catch((error: unknown) => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    });
  }

  #sendCoded(sender: ChannelSender, coded: CodedPages, { bytes }: PageBatch): void {
    const { runs, codec, decodedBytes, payload } = coded;
    const payloadBytes = payload.byteLength;
    const isInBatch = payload.buffer === bytes.buffer;
    if (!isInBatch) this.#recycle(bytes);
    const written = (): void => {
      if (isInBatch) this.#recycle(bytes);
    };
    const before = this.#beginFrame(sender);
    this.#transforms.encoder?.sent(coded, isBusy(sender));
    const isPlain = runs.every(({ kind }) => kind === RunKind.DATA || kind === RunKind.ZERO);
    if (isPlain && codec === WireCodec.NONE) sender.sendPages(runs, payload, written);
    else sender.sendCoded({ runs, codec, decodedBytes, payloadBytes }, payload, written);
    this.#account(sender, before);
  }

  #newBuffer(): Buffer {
    if (this.#transforms.encoder !== undefined) return batchBuffer();
    return Buffer.allocUnsafeSlow(gatheredPagesMax * PAGE_BYTES);
  }

  /** The memory of a frame that has left may be used again. */
  #recycle(buffer: Buffer | undefined): void {
    if (buffer?.byteLength === gatheredPagesMax * PAGE_BYTES) this.#buffers.push(buffer);
  }

  /** A frame is about to be given to a socket: what the system does meanwhile counts. Answers what was sent before. */
  #beginFrame(sender: ChannelSender): number {
    this.#frameAtMs = nowMs();
    return sender.sentBytes;
  }

  #account(sender: ChannelSender, sentBytesBefore: number): void {
    this.#sent = true;
    const atMs = this.#frameAtMs;
    const byteCount = sender.sentBytes - sentBytesBefore;
    this.onSent?.(byteCount, atMs, this.#limit.frameMs);
    this.#waitMs = Math.max(this.#waitMs, this.#limit.spend(byteCount, atMs));
    if (sender.isFull) this.#full = sender;
  }
}

/** Whether the system has not taken yet what the socket was given. */
function isBusy({ sentBytes, writtenBytes }: ChannelSender): boolean {
  return writtenBytes < sentBytes;
}

function gatheringsFor(senders: readonly ChannelSender[]): Gathering[] {
  return senders.map((sender, channel) => {
    return { channel, sender, runs: [], pages: 0, buffer: undefined, coding: undefined };
  });
}
