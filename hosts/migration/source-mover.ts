/**
 * The source's mover: owns the sockets of one outgoing migration and reads the guest's memory, in a thread of
 * its own (mover.ts). It opens the data port, runs the technique, and sends the ledger. Its owner is
 * outgoing.ts.
 */

import type { MessagePort } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { DedupScope, MigrationPhase, type SourceReport } from '../../proto/generated/godwit/v1/migration.ts';
import type { Technique } from '../../proto/names.ts';
import { goLast } from '../../proto/thread-priority.ts';
import { transformsOf } from '../../proto/transforms.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER } from '../guest/control-layout.ts';
import { pageCountOf } from '../guest/shared-guest.ts';
import { Sealing } from '../transform/encryption/sealing.ts';
import { WireViolation } from './channel-receiver.ts';
import { Failpoints, longestHoldMs } from './failpoints.ts';
import { priorityChannels } from './late-pages.ts';
import { sendLedger } from './ledger-transfer.ts';
import type { FromSourceMover, SourceMoverData, ToSourceMover } from './messages.ts';
import { OfferReceiver } from './offer-transfer.ts';
import { type ProgressBoard, progressBoard } from './progress-board.ts';
import { Silence, within } from './silence.ts';
import type { SourceChannel } from './source-channel.ts';
import type { SourceConnections, SourceParts } from './source-parts.ts';
import { SourceServer } from './source-server.ts';
import { SourceSide } from './source-side.ts';
import { TECHNIQUES } from './techniques/registry.ts';
import { type Side, wireText } from './wire.ts';

export class SourceMover {
  readonly #data: SourceMoverData;
  readonly #port: MessagePort;
  readonly #makeWay: () => void;
  readonly #pageCount: number;
  readonly #control: ControlBlock;
  readonly #board: ProgressBoard;
  readonly #ending = new AbortController();
  readonly #silence: Silence;
  readonly #failpoints: Failpoints;
  readonly #begun = Promise.withResolvers<void>();
  readonly #decided = Promise.withResolvers<Side>();
  readonly #sealing: Sealing;
  readonly #server: SourceServer;
  /** Why a connection was refused, the last that was. */
  #refusal = '';
  #channels: readonly SourceChannel[] = [];
  #side: SourceSide | undefined;
  /** Of SentContents. */
  #offered: SharedArrayBuffer | undefined;
  #setupDoneAtMs = 0;

  /**
   * @param port the way to the main thread
   * @param makeWay is called when nobody waits for this thread any more: it takes no processor from the guest
   */
  constructor(data: SourceMoverData, port: MessagePort, makeWay: () => void = goLast) {
    const { shared, options, listenAddress, ticket } = data;
    this.#data = data;
    this.#port = port;
    this.#makeWay = makeWay;
    this.#pageCount = pageCountOf(shared.spec);
    this.#control = new ControlBlock(shared.control, shared.spec.vcpuCount);
    this.#board = progressBoard(data.board);
    const silenceMs = DEADLINES_MS.dataSilence + longestHoldMs(options.failpoints);
    this.#silence = new Silence('the destination', silenceMs, this.#ending.signal);
    this.#failpoints = new Failpoints(
      options.failpoints,
      {
        held: (point) => this.#post({ type: 'held', point }),
        released: () => this.#post({ type: 'released' }),
      },
      this.#ending.signal,
    );
    this.#begun.promise.catch(() => {});
    this.#sealing = new Sealing('source', transformsOf(options).encryption);
    const channelCount = options.channels + priorityChannels(options);
    this.#server = new SourceServer(
      { listenAddress, ticket, sealing: this.#sealing, pageCount: this.#pageCount, channelCount },
      this.#silence,
      (reason) => {
        this.#board.refused++;
        this.#refusal = reason;
      },
    );
    port.on('message', (message: ToSourceMover) => this.#onMessage(message));
  }

  /** Does the migration to its end, which is the last thing that it posts. */
  async run(): Promise<void> {
    let reason = '';
    try {
      await this.#migrate();
    } catch (error) {
      // What ended the migration says more than what it led to.
      const { signal } = this.#ending;
      const cause: unknown = signal.aborted ? signal.reason : error;
      reason = cause instanceof Error ? cause.message : String(cause);
      this.#control.tryHandover(HANDOVER.NONE, HANDOVER.KEPT);
      // It runs on here, as fast as it can: at once, and not when the destination has heard of it.
      this.#side?.endGovernors();
      await this.#sayFailure(reason);
    }
    this.#server.close();
    for (const channel of this.#channels) channel.end();
    await this.#side?.close();
    this.#post({ type: 'ended', reason, report: this.#report() });
  }

  #post(message: FromSourceMover): void {
    this.#port.postMessage(message);
  }

  #onMessage(message: ToSourceMover): void {
    switch (message.type) {
      case 'release-failpoint':
        this.#failpoints.release();
        break;
      case 'stop':
        this.#ending.abort(new Error(message.reason));
        break;
      case 'handover-begun':
        this.#begun.resolve();
        break;
      case 'handover-refused':
        this.#begun.reject(new Error(`the witness did not take the handover down: ${message.reason}`));
        break;
      case 'decided':
        this.#decided.resolve(message.owner);
        break;
    }
  }

  /** Resolves when all channels are up and the destination is ready for pages. */
  async #setUp(): Promise<Pick<SourceParts, 'standby'>> {
    this.#board.phase = MigrationPhase.MIGRATION_PHASE_SETUP;
    this.#post({ type: 'listening', port: await this.#server.listen() });
    this.#channels = await within(this.#server.channels, DEADLINES_MS.dataConnect, this.#ending.signal).catch(
      (error: unknown) => {
        // Before all channels are up nobody else hears of it.
        if (error instanceof WireViolation) this.#board.refused++;
        const refused = this.#refusal === '' ? '' : `; refused was a ${this.#refusal}`;
        const problem = `${(error as Error).message}${refused}`;
        throw new Error(`waiting for the destination's connections: ${problem}`);
      },
    );
    for (const channel of this.#channels) channel.onLost((error) => this.#onLost(error));
    const main = this.#channels[0] as SourceChannel;
    this.#answerOffer(main);
    main.answer('ALIVE', () => {});
    main.answer('FAILURE', ({ reason }) => main.lose(new Error(`the destination gave up: ${reason}`)));
    main.answer('PING', ({ sentAtMs }) => main.sender.send('PONG', { sentAtMs, nowMs: nowMs() }));
    // It may come right behind START.
    const standby = main.expect('STANDBY');
    await this.#silence.during('START', main.expect('START'));
    main.answer('PING', undefined);
    main.answer('OFFER', undefined);
    return { standby };
  }

  /** The destination may say what it holds of other guests, if the guest is to be compared with them. */
  #answerOffer(main: SourceChannel): void {
    const { dedup } = transformsOf(this.#data.options);
    if (dedup !== DedupScope.DEDUP_SCOPE_HOST) return;
    const receiver = new OfferReceiver();
    this.#offered = receiver.offered;
    main.answer('OFFER', (body) => {
      const problem = receiver.take(body);
      if (problem !== undefined) main.lose(new WireViolation(problem));
    });
  }

  /** Before the commit point a lost channel ends the migration; afterwards only who waits on it is told. */
  #onLost(error: Error): void {
    if (error instanceof WireViolation) this.#board.refused++;
    if (this.#side?.switching.isCommitted !== true) this.#ending.abort(error);
  }

  /** All connections as they are now. */
  #connections(): SourceConnections {
    const { channels: count } = this.#data.options;
    return { channels: this.#channels.slice(0, count), priority: this.#channels[count] };
  }

  async #migrate(): Promise<void> {
    const { standby } = await this.#setUp();
    this.#side = new SourceSide({
      data: this.#data,
      ...this.#connections(),
      allowReconnect: () => this.#server.allowReconnect(),
      reconnected: async () => {
        this.#channels = await this.#server.reconnected();
        for (const channel of this.#channels) channel.onLost((error) => this.#onLost(error));
        return this.#connections();
      },
      offered: this.#offered,
      silence: this.#silence,
      failpoints: this.#failpoints,
      board: this.#board,
      standby,
      say: (text) => this.#post({ type: 'note', text }),
      witness: {
        beginHandover: async () => {
          this.#post({ type: 'begin-handover' });
          await within(this.#begun.promise, DEADLINES_MS.durable + DEADLINES_MS.query, this.#ending.signal);
        },
        commitUnanswered: () => this.#post({ type: 'commit-unanswered' }),
        resumed: () => this.#post({ type: 'resumed' }),
        decided: this.#decided.promise,
      },
      signal: this.#ending.signal,
    });
    this.#setupDoneAtMs = nowMs();
    // A guest that came by post-copy a moment ago: from here on each pause finds its vCPUs' states saved.
    await within(this.#control.waitFaultsOver(), DEADLINES_MS.guestWork, this.#ending.signal);
    await this.#failpoints.reach('setup');
    this.#board.phase = MigrationPhase.MIGRATION_PHASE_ACTIVE;
    await this.#side.begin();
    await TECHNIQUES[this.#data.options.technique as Technique](this.#side);
    this.#post({ type: 'served' });
    await this.#afterwards(this.#channels[0] as SourceChannel, this.#side).catch(() => {
      // The guest is safe at the destination, which then proves it by the digest.
    });
  }

  /** The ledger follows when the guest runs again, and takes no processor from it. */
  async #afterwards(main: SourceChannel, { switching }: SourceSide): Promise<void> {
    this.#makeWay();
    const done = main.expect('LEDGER_DONE');
    await sendLedger(main.sender, switching.ledger, this.#pageCount);
    await within(done, DEADLINES_MS.ledger, this.#ending.signal);
  }

  /** Tells the destination, if it still listens, that it will not get the guest. */
  async #sayFailure(reason: string): Promise<void> {
    const [main] = this.#channels;
    if (main === undefined) return;
    main.sender.send('FAILURE', { reason: wireText(reason) });
    const never = new AbortController().signal;
    await within(main.sender.flushed(), DEADLINES_MS.lastWord, never).catch(() => {});
  }

  #report(): SourceReport {
    const switching = this.#side?.switching;
    const counts = this.#side?.counts;
    const sentBytes =
      switching?.isCommitted === true ? switching.sentBytes.committed : (this.#side?.sentBytes ?? 0);
    const postcopy = this.#side?.postcopyReport();
    const precopyBytes = switching?.isPaused === true ? switching.sentBytes.paused : sentBytes;
    return {
      acceptedAtMs: this.#data.acceptedAtMs,
      setupDoneAtMs: this.#setupDoneAtMs,
      pauseRequestedAtMs: switching?.times.pauseRequestedAtMs ?? 0,
      parkedAtMs: switching?.times.parkedAtMs ?? 0,
      finalPagesSentAtMs: switching?.times.finalPagesSentAtMs ?? 0,
      deviceStateSentAtMs: switching?.times.deviceStateSentAtMs ?? 0,
      readyAtMs: switching?.times.readyAtMs ?? 0,
      commitSentAtMs: switching?.times.commitSentAtMs ?? 0,
      freedAtMs: 0,
      rounds: this.#side?.rounds ?? [],
      transferredBytes: BigInt(sentBytes) + (postcopy?.sentBytes ?? 0n),
      precopyBytes: BigInt(precopyBytes),
      downtimeBytes: BigInt(sentBytes - precopyBytes),
      normalPages: BigInt(counts?.dataPages ?? 0),
      zeroPages: BigInt(counts?.zeroPages ?? 0),
      resentPages: BigInt(counts?.resentPages ?? 0),
      resentBytes: BigInt(counts?.resentBytes ?? 0),
      deviceStateBytes: BigInt(switching?.deviceStateBytes ?? 0),
      convergence: this.#side?.convergence ?? '',
      series: undefined,
      postcopy,
      transforms: [...(this.#side?.transformReports() ?? []), this.#sealing.sealed.report()],
      switchRequestedAtMs: 0,
      decisions: [...(this.#side?.decisions ?? [])],
      throttle: this.#side?.throttleReport,
      freePages: this.#side?.freePagesReport(),
      networkEstimates: [...(this.#side?.networkEstimates ?? [])],
    };
  }
}
