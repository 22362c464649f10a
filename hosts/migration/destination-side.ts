/**
 * The destination's part of the protocol: what each frame does, and which may come when. Its stages:
 *
 * - connecting: the channels say HELLO; nothing but WELCOME and PONG may come.
 * - moving: pages, rounds, and in the end the devices' state.
 * - ready: everything is here. No page may come any more; COMMIT may.
 * - resumed: the guest runs here. The ledger may come, and before it, in post-copy, the pages that MISSING named.
 *
 * Whatever is not allowed now is refused and ends the connection; before READY that is the end of the guest
 * here.
 */

import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { DedupScope, type TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import { mayHaveLatePages } from '../../proto/migration-options.ts';
import { transformsOf } from '../../proto/transforms.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER } from '../guest/control-layout.ts';
import { freeListStateBytes } from '../guest/free-list.ts';
import { digestOf } from '../guest/ledger.ts';
import { pageCountOf, VCPU_STATE_BYTES, writeVcpuState } from '../guest/shared-guest.ts';
import { Sealing } from '../transform/encryption/sealing.ts';
import { PageDecoder } from '../transform/page-decoder.ts';
import { restorersOf } from '../transform/registry.ts';
import { ArrivalWords } from './arrival-words.ts';
import { WireViolation } from './channel-receiver.ts';
import { DemandPaging } from './demand-paging.ts';
import { DestinationChannel } from './destination-channel.ts';
import { loadFreeList } from './free-list-transfer.ts';
import { sendLacking } from './lacking-transfer.ts';
import { priorityChannels } from './late-pages.ts';
import { LedgerReceiver } from './ledger-transfer.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { DestinationMoverData } from './messages.ts';
import { PagePlacer } from './page-placer.ts';
import type { ChannelGeometry } from './page-runs.ts';
import { bitmapBytesOf, NO_PAGE } from './page-set.ts';
import { PriorityChannel } from './priority-channel.ts';
import type { ProgressBoard } from './progress-board.ts';
import { ReceivedMemory } from './received-memory.ts';
import { SharedArrival } from './shared-arrival.ts';
import { type Silence, within } from './silence.ts';
import {
  type Body,
  type ControlFrame,
  contentBytesOf,
  type Frame,
  isPageFrame,
  type PageFrame,
  RunKind,
  wireText,
} from './wire.ts';

type Stage = 'connecting' | 'moving' | 'ready' | 'resumed';

/** How long a resumed guest may take to its first instruction before the source is told without its time. */
const FIRST_RUN_MS = 1000;

/** The source will not send what is missing: there is no use in connecting again. */
export class SourceGaveUp extends Error {}

export interface DestinationHooks {
  /** COMMIT is here. Resolves when the guest may be resumed: at once, unless a failpoint is set. */
  beforeResume(): Promise<void>;
  /** Every page is here. Resolves when the source may be told. */
  beforeComplete(): Promise<void>;
  /** COMMIT is here and the guest may not be resumed for it. */
  leaseEnded(): void;
}

export class DestinationSide {
  /** Everything that the guest needs is here and READY was sent. */
  readonly whole = Promise.withResolvers<void>();
  /** The guest runs here; when it first did. */
  readonly resumed = Promise.withResolvers<number>();
  /** All versions are here and have the digest that came in the pause. */
  readonly ledger = Promise.withResolvers<void>();
  /** Never resolves: rejects when a channel is lost, or something on it was refused. */
  lost = Promise.withResolvers<never>();
  /** What comes when the guest runs here already. */
  readonly paging: DemandPaging;
  /** What goes between this guest and others of this host, if that was asked for. */
  readonly shares: SharedArrival | undefined;
  readonly times = { installedAtMs: 0, commitReceivedAtMs: 0, resumedAtMs: 0 };
  readonly clock = { offsetMs: 0, errorMs: 0 };
  /** The report has what came up to COMMIT, without the ledger. */
  receivedBytesAtCommit = 0;
  ledgerDigest = '';
  readonly #data: DestinationMoverData;
  readonly #silence: Silence;
  readonly #board: ProgressBoard;
  readonly #hooks: DestinationHooks;
  readonly #control: ControlBlock;
  readonly #sealing: Sealing;
  readonly #pageCount: number;
  readonly #memory: ReceivedMemory;
  readonly #decoder: PageDecoder;
  /** While pages move. */
  readonly #arrived = new ArrivalWords((word) => {
    if (this.#stage === 'moving') this.#main.sender.send('ARRIVED', word);
  });
  #channels: DestinationChannel[] = [];
  readonly #priority: PriorityChannel | undefined;
  readonly #ledgerReceiver: LedgerReceiver;
  /**
   * For the state of the devices and the vCPUs, and before it MISSING's bitmap. Made now, since it is needed in
   * the pause.
   */
  readonly #deviceState: Buffer;
  #stage: Stage = 'connecting';
  #welcomed = Promise.withResolvers<void>();
  #pong: PromiseWithResolvers<Body<'PONG'>> | undefined;
  #commitCame = false;
  /** The round after which the devices' state came. */
  #finalRound = Number.POSITIVE_INFINITY;

  constructor(data: DestinationMoverData, silence: Silence, board: ProgressBoard, hooks: DestinationHooks) {
    this.#data = data;
    this.#silence = silence;
    this.#board = board;
    this.#hooks = hooks;
    const { shared } = data;
    const { spec } = shared;
    this.#control = new ControlBlock(shared.control, spec.vcpuCount);
    this.#pageCount = pageCountOf(spec);
    const touched = new SharedArrayBuffer(this.#pageCount);
    this.#memory = new ReceivedMemory(shared.memory, touched);
    const shares = data.lent && new SharedArrival(data.lent, this.#memory, data.options.channels);
    const transforms = transformsOf(data.options);
    this.#sealing = new Sealing('destination', transforms.encryption);
    const context = { transforms, received: this.#memory, digests: shares?.restorer };
    this.#decoder = new PageDecoder(this.#memory, restorersOf(context));
    this.shares = shares;
    if (priorityChannels(data.options) > 0) this.#priority = this.#startPriority(touched);
    this.paging = new DemandPaging(shared, this.#priority?.counts);
    this.#ledgerReceiver = new LedgerReceiver(shared.base, this.#pageCount);
    const stateBytes =
      Number(spec.deviceStateBytes) + freeListStateBytes(spec) + spec.vcpuCount * VCPU_STATE_BYTES;
    this.#deviceState = Buffer.alloc(Math.max(stateBytes, bitmapBytesOf(this.#pageCount)));
    for (const { promise } of [this.whole, this.resumed, this.ledger, this.lost, this.#welcomed]) {
      (promise as Promise<unknown>).catch(() => {});
    }
  }

  /** Opens all channels, measures the clocks' offset, and tells the source to begin. */
  async connect(): Promise<void> {
    await this.#open();
    if (!this.#data.sharesClock) await this.#measureClock();
    const { dedup } = transformsOf(this.#data.options);
    if (dedup === DedupScope.DEDUP_SCOPE_HOST) await this.shares?.offer(this.#main.sender);
    this.#stage = 'moving';
    this.#main.sender.send('START', {});
  }

  /** Opens all channels; resolves when the source has welcomed each. */
  async #open(): Promise<void> {
    const pageCount = this.#pageCount;
    const { options } = this.#data;
    this.#welcomed = Promise.withResolvers();
    for (let channel = 0; channel < options.channels; channel++) {
      this.#channels.push(this.#dial(channel, { pageCount, channel, channelCount: options.channels }));
    }
    this.#priority?.connect();
    await Promise.race([this.#welcomed.promise, this.lost.promise]);
  }

  /** Its thread starts while the vCPUs' threads do. */
  #startPriority(touched: SharedArrayBuffer): PriorityChannel {
    const { shared, options, sourceAddress, sourcePort, ticket } = this.#data;
    const about = { shared, touched, channel: options.channels, encryption: this.#sealing.encryption };
    return new PriorityChannel(
      { ...about, sourceAddress, sourcePort, ticket },
      {
        welcome: () => this.#whenWelcomed(),
        complete: () => this.paging.whenComplete(),
        refused: (error) => this.#refuse(error),
        lost: (error) => this.#lose(error),
      },
    );
  }

  #dial(index: number, geometry: ChannelGeometry): DestinationChannel {
    const { sourceAddress: host, sourcePort: port, ticket } = this.#data;
    const placer = new PagePlacer(this.#memory, this.#decoder);
    const settings = { host, port, index, geometry, ticket, sealing: this.#sealing };
    const isCurrent = (): boolean => this.#channels.includes(channel);
    const channel: DestinationChannel = new DestinationChannel(settings, this.#silence, {
      received: (byteCount) => {
        this.#arrived.received(byteCount);
        this.#silence.touch();
      },
      place: (frame) => this.#place(channel, placer, frame),
      frame: (frame, payload) => this.#onFrame(channel, placer, frame, payload),
      failed: (error) => isCurrent() && this.#refuse(error),
      lost: (error) => isCurrent() && this.#lose(error),
    });
    return channel;
  }

  /**
   * Opens all channels again in place of those that were lost, and says what has not come. The guest runs
   * here.
   *
   * @throws when the source cannot be reached now
   */
  async reconnect(): Promise<void> {
    const lost = this.#channels;
    this.#channels = [];
    for (const channel of lost) channel.destroy();
    this.lost = Promise.withResolvers();
    this.lost.promise.catch(() => {});
    this.#stage = 'connecting';
    await this.#open();
    this.#stage = 'resumed';
    sendLacking(this.#main.sender, this.paging.lacking());
    this.#ask();
  }

  /** Gives up connecting again: what is open could be welcomed later, when nobody waits for it any more. */
  hangUp(): void {
    for (const channel of this.#channels) channel.destroy();
    this.#priority?.hangUp();
  }

  /**
   * Tells the source that it may pause the guest: the vCPUs' threads stand parked here, and its NIC, if
   * it has one, stands by or has had its time. They start while pages arrive.
   *
   * @throws when one does not start
   */
  async standBy(): Promise<void> {
    const { network } = this.#data.shared.spec;
    await Promise.all([
      this.#control.waitParkedAsync(DEADLINES_MS.threadStart),
      network && this.#control.waitNicAsync(DEADLINES_MS.uplink),
    ]);
    this.#main.sender.send('STANDBY', {});
  }

  /**
   * Tells the source that this side is there: while bytes arrive, so that a slow link is not taken for a lost
   * one, and in post-copy at any time.
   */
  sayAlive(): void {
    const owesPages = this.#stage === 'resumed' && this.paging.isActive;
    if (this.#stage === 'moving' || owesPages) this.#main.sender.send('ALIVE', {});
  }

  /** Tells the source that every page is here; the ledger may come. */
  async sayComplete(): Promise<void> {
    await this.#hooks.beforeComplete();
    this.receivedBytesAtCommit = this.receivedBytes;
    this.#main.sender.send('COMPLETE', { completeAtMs: this.paging.completeAtMs });
  }

  /** What was undone of each transform. */
  transformReports(): TransformReport[] {
    const shares = this.shares === undefined ? [] : [this.shares.report()];
    const opened = this.#sealing.opened.report();
    return [...shares, ...this.#decoder.reports(), this.#priority?.withOpened(opened) ?? opened];
  }

  /** Whether anything of the ledger has come: the source has heard that every page is here. */
  get isLedgerComing(): boolean {
    return this.#ledgerReceiver.hasBegun;
  }

  /**
   * Runs the guest here if the handover still allows it: after COMMIT, or because the witness said so. From
   * the moment when it was taken to RESUMED nobody else can decide.
   */
  resume(): void {
    if (!this.#control.tryHandover(HANDOVER.READY, HANDOVER.RESUMED)) return;
    this.#stage = 'resumed';
    this.receivedBytesAtCommit ||= this.receivedBytes;
    this.#control.resume();
    let resumedAtMs: number;
    try {
      resumedAtMs = this.#control.waitFirstRun(FIRST_RUN_MS);
    } catch {
      // It may run, but an audit or the host holds it, or the machine is too busy.
      resumedAtMs = nowMs();
    }
    this.times.resumedAtMs = resumedAtMs;
    this.#main.sender.send('RESUMED', { resumedAtMs });
    if (this.paging.isActive) this.#ask();
    this.resumed.resolve(resumedAtMs);
  }

  /** From now on faults are asked for, on the connections as they are now. */
  #ask(): void {
    if (this.#priority === undefined) this.paging.ask(this.#main.sender);
    else this.#priority.ask();
    // A hybrid may have nothing to wait for.
    this.paging.whenComplete();
  }

  /**
   * Ends all connections.
   *
   * @param reason told to the source if it still listens. One that serves pages would wait for this side otherwise: it
   * gets time to hear that, since to end a connection on which it has sent more may take what it has not read from it
   */
  async close(reason?: string): Promise<void> {
    const isTold = reason !== undefined && this.#main?.isWelcomed;
    if (isTold) this.#main.sender.send('FAILURE', { reason: wireText(reason) });
    for (const channel of this.#channels) channel.end();
    this.#priority?.end();
    if (!isTold || this.#stage !== 'resumed') return;
    await within(this.#main.closed, DEADLINES_MS.lastWord, new AbortController().signal).catch(() => {});
  }

  /** All bytes so far. */
  get receivedBytes(): number {
    return this.#arrived.receivedBytes + (this.#priority?.counts.receivedBytes ?? 0);
  }

  get #main(): DestinationChannel {
    return this.#channels[0] as DestinationChannel;
  }

  /** The source's clock minus this one: of several round trips the shortest tells most (Cristian, 1989). */
  async #measureClock(): Promise<void> {
    let bestMs = Number.POSITIVE_INFINITY;
    for (let sample = 0; sample < MOVER_LIMITS.clockSamples; sample++) {
      this.#pong = Promise.withResolvers();
      const sentAtMs = nowMs();
      this.#main.sender.send('PING', { sentAtMs });
      const pong = await Promise.race([this.#pong.promise, this.lost.promise]);
      const receivedAtMs = nowMs();
      const roundTripMs = receivedAtMs - sentAtMs;
      if (roundTripMs >= bestMs) continue;
      bestMs = roundTripMs;
      this.clock.offsetMs = pong.nowMs - (sentAtMs + receivedAtMs) / 2;
      this.clock.errorMs = roundTripMs / 2;
    }
    this.#pong = undefined;
  }

  #refuse(error: Error): void {
    if (error instanceof WireViolation) this.#board.refused++;
    this.#lose(error);
    this.hangUp();
  }

  #lose(error: Error): void {
    this.lost.reject(error);
    this.whole.reject(error);
    // The ledger may still come on connections that are opened again.
    if (!this.paging.isActive || this.isLedgerComing) this.ledger.reject(error);
  }

  #place(channel: DestinationChannel, placer: PagePlacer, frame: Frame): Uint8Array {
    if (isPageFrame(frame)) {
      this.#mayBring(channel, frame);
      return placer.target(frame);
    }
    if (frame.type === 'LEDGER') {
      this.#mayBringLedger(channel, frame.type);
      return this.#ledgerReceiver.place(frame.body, frame.payloadBytes);
    }
    // DEVICE_STATE or MISSING, the only other frames that the decoder lets have a payload.
    if (frame.payloadBytes > this.#deviceState.byteLength) {
      const allowed = this.#deviceState.byteLength;
      throw new WireViolation(
        `${frame.type} brings ${frame.payloadBytes} bytes; at most ${allowed} fit this guest`,
      );
    }
    return this.#deviceState.subarray(0, frame.payloadBytes);
  }

  #onFrame(channel: DestinationChannel, placer: PagePlacer, frame: Frame, payload: Uint8Array): void {
    if (!isPageFrame(frame)) {
      this.#onControl(channel, frame, payload);
      return;
    }
    this.#mayBring(channel, frame);
    placer.place(frame);
    if (!this.#isWhole) {
      this.shares?.placed(frame);
      this.#arrived.placed(frame.payloadBytes);
      return;
    }
    this.paging.placed(frame);
    const bytes = contentBytesOf(frame);
    if (bytes > 0) this.#main.sender.send('PLACED', { bytes });
  }

  #onControl(channel: DestinationChannel, frame: ControlFrame, payload: Uint8Array): void {
    switch (frame.type) {
      case 'WELCOME':
        this.#onWelcome(channel, frame.body);
        break;
      case 'PONG':
        if (this.#pong === undefined) throw notNow(frame.type);
        this.#pong.resolve(frame.body);
        break;
      case 'ROUND_END':
        this.#onRoundEnd(channel, frame.body.round);
        break;
      case 'DEVICE_STATE':
        this.#onDeviceState(channel, frame.body, payload);
        break;
      case 'MISSING':
        this.#mayCome(channel, frame.type, 'moving');
        if (!mayHaveLatePages(this.#data.options)) throw notNow(frame.type);
        this.paging.begin(frame.body, payload);
        break;
      case 'ALIVE':
        if (!this.paging.isActive) throw notNow(frame.type);
        break;
      case 'COMMIT':
        this.#mayCome(channel, frame.type, this.#stage === 'resumed' ? 'resumed' : 'ready');
        this.#onCommit();
        break;
      case 'LEDGER':
        return;
      case 'LEDGER_END':
        this.#mayBringLedger(channel, frame.type);
        this.#onLedgerEnd();
        break;
      case 'FAILURE':
        this.#lose(new SourceGaveUp(`the source gave up: ${frame.body.reason}`));
        break;
      case 'HELLO':
      case 'PING':
      case 'START':
      case 'ROUND_DONE':
      case 'READY':
      case 'RESUMED':
      case 'LEDGER_DONE':
      case 'REQUEST':
      case 'COMPLETE':
      case 'LACKING':
      case 'STANDBY':
      case 'PLACED':
      case 'WANTED':
      case 'OFFER':
      case 'ARRIVED':
        // The decoder refuses them first, since they are the destination's.
        throw notNow(frame.type);
    }
  }

  #onWelcome(channel: DestinationChannel, body: Body<'WELCOME'>): void {
    if (this.#stage !== 'connecting') throw notNow('WELCOME');
    channel.welcomed(body);
    this.#whenWelcomed();
  }

  #whenWelcomed(): void {
    const isPriorityUp = this.#priority?.isWelcomed ?? true;
    if (isPriorityUp && this.#channels.every(({ isWelcomed }) => isWelcomed)) this.#welcomed.resolve();
  }

  #onRoundEnd(channel: DestinationChannel, round: number): void {
    this.#mayMove(channel, 'ROUND_END');
    if (round !== channel.round + 1) {
      throw new WireViolation(`ROUND_END of round ${round} came after that of round ${channel.round}`);
    }
    channel.round = round;
    channel.isInRound = false;
    this.shares?.roundEnded(channel.index, channel.sender);
    channel.sender.send('ROUND_DONE', { round });
    this.#whenWhole();
  }

  #onDeviceState(channel: DestinationChannel, body: Body<'DEVICE_STATE'>, payload: Uint8Array): void {
    const { shared } = this.#data;
    const { spec } = shared;
    this.#mayCome(channel, 'DEVICE_STATE', 'moving');
    const ahead = this.#channels.some(
      ({ round, isInRound }) => round > channel.round || (round === channel.round && isInRound),
    );
    if (this.#finalRound !== Number.POSITIVE_INFINITY || channel.round === 0 || ahead)
      throw notNow('DEVICE_STATE');
    const { vcpuStateBytes } = body;
    const listBytes = freeListStateBytes(spec);
    const deviceBytes = Number(spec.deviceStateBytes) + listBytes;
    const expectedBytes = vcpuStateBytes.reduce((sum, bytes) => sum + bytes, deviceBytes);
    if (vcpuStateBytes.length !== spec.vcpuCount || payload.byteLength !== expectedBytes) {
      throw new WireViolation(
        `DEVICE_STATE brings ${payload.byteLength} bytes for ${vcpuStateBytes.length} vCPUs; expected are ` +
          `${expectedBytes} for ${spec.vcpuCount}`,
      );
    }
    loadFreeList(shared, payload.subarray(deviceBytes - listBytes, deviceBytes));
    let start = deviceBytes;
    for (const [vcpu, bytes] of vcpuStateBytes.entries()) {
      writeVcpuState(shared, vcpu, payload.subarray(start, start + bytes));
      start += bytes;
    }
    this.ledgerDigest = body.ledgerDigest;
    this.#finalRound = channel.round;
    this.#whenWhole();
  }

  /** Everything is here when the final round has ended on every channel. */
  #whenWhole(): void {
    if (this.#channels.some(({ round }) => round !== this.#finalRound)) return;
    this.#mustLackNothing();
    if (!this.#control.tryHandover(HANDOVER.NONE, HANDOVER.READY)) return;
    this.#stage = 'ready';
    const installedAtMs = nowMs();
    this.times.installedAtMs = installedAtMs;
    this.#main.sender.send('READY', { installedAtMs });
    this.whole.resolve();
  }

  /** What came as a digest and was wanted is here by now, or comes to the running guest. @throws WireViolation */
  #mustLackNothing(): void {
    const { lacking } = this.#memory;
    for (let page = lacking.atOrAfter(0); page !== NO_PAGE; page = lacking.atOrAfter(page + 1)) {
      if (!this.paging.isMissing(page)) throw new WireViolation(`page ${page} was wanted and has not come`);
    }
  }

  #onCommit(): void {
    if (this.#commitCame) throw notNow('COMMIT');
    this.#commitCame = true;
    // A link that was down held it back, and the guest runs here by the witness's word.
    if (this.#stage === 'resumed') return;
    this.times.commitReceivedAtMs = nowMs();
    this.receivedBytesAtCommit = this.receivedBytes;
    this.#hooks.beforeResume().then(
      () => {
        if (nowMs() < this.#control.leaseUntilMs) this.resume();
        else this.#hooks.leaseEnded();
      },
      // The migration was ended while it stood at the failpoint.
      () => {},
    );
  }

  #onLedgerEnd(): void {
    if (!this.#ledgerReceiver.isComplete) throw new WireViolation('LEDGER_END came before the whole ledger');
    if (digestOf(new Uint32Array(this.#data.shared.base)) !== this.ledgerDigest) {
      throw new WireViolation('the ledger does not have the digest that came in the pause');
    }
    this.#main.sender.send('LEDGER_DONE', {});
    this.ledger.resolve();
  }

  /** Everything that the guest needs to run is here. */
  get #isWhole(): boolean {
    return this.#stage === 'ready' || this.#stage === 'resumed';
  }

  /** Pages: in a round, or afterwards those that are missing. */
  #mayBring(channel: DestinationChannel, frame: PageFrame): void {
    if (this.paging.isActive && this.#isWhole) {
      this.paging.mustLack(frame);
      mustBePlain(frame);
      return;
    }
    this.#mayMove(channel, frame.type);
    channel.isInRound = true;
  }

  /** Pages and ends of rounds: while the guest moves, and on this channel not after its final round. */
  #mayMove(channel: DestinationChannel, type: Frame['type']): void {
    if (this.#stage !== 'moving' || channel.round >= this.#finalRound) throw notNow(type);
  }

  /** The ledger: when the guest runs here and lacks nothing. */
  #mayBringLedger(channel: DestinationChannel, type: Frame['type']): void {
    this.#mayCome(channel, type, 'resumed');
    if (this.paging.missingPages > 0) throw notNow(type);
  }

  #mayCome(channel: DestinationChannel, type: Frame['type'], stage: Stage): void {
    if (this.#stage !== stage || channel.index !== 0) throw notNow(type);
  }
}

function notNow(type: Frame['type']): WireViolation {
  return new WireViolation(`${type} is not allowed now`);
}

/** The guest runs here and writes its pages: none can be made of another one, or of what it held before. */
function mustBePlain({ runs }: PageFrame): void {
  for (const { firstPage, kind } of runs) {
    if (kind === RunKind.DATA || kind === RunKind.ZERO) continue;
    throw new WireViolation(`page ${firstPage} of the running guest came as a run of kind ${kind}`);
  }
}
