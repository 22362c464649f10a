/**
 * The destination's mover: owns the sockets of one incoming migration, writes the guest's memory, and resumes
 * the guest, in a thread of its own (mover.ts). Its owner is incoming.ts.
 */

import type { MessagePort } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { goLast } from '../../proto/thread-priority.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER } from '../guest/control-layout.ts';
import { Arrival } from './arrival.ts';
import { DestinationSide } from './destination-side.ts';
import { Failpoints, longestHoldMs } from './failpoints.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { DestinationMoverData, FromDestinationMover, ToDestinationMover } from './messages.ts';
import { type ProgressBoard, progressBoard } from './progress-board.ts';
import { Silence, within } from './silence.ts';

export class DestinationMover {
  readonly #data: DestinationMoverData;
  readonly #port: MessagePort;
  readonly #makeWay: () => void;
  readonly #control: ControlBlock;
  readonly #board: ProgressBoard;
  readonly #ending = new AbortController();
  readonly #ledgerMs: number;
  readonly #silence: Silence;
  readonly #failpoints: Failpoints;
  readonly #side: DestinationSide;
  readonly #arrival: Arrival;

  /**
   * @param port the way to the main thread
   * @param makeWay is called when nobody waits for this thread any more: it takes no processor from the guest
   */
  constructor(data: DestinationMoverData, port: MessagePort, makeWay: () => void = goLast) {
    const { options, shared } = data;
    this.#data = data;
    this.#port = port;
    this.#makeWay = makeWay;
    this.#control = new ControlBlock(shared.control, shared.spec.vcpuCount);
    this.#board = progressBoard(data.board);
    const holdMs = longestHoldMs(options.failpoints);
    this.#ledgerMs = DEADLINES_MS.ledger + holdMs;
    this.#silence = new Silence('the source', DEADLINES_MS.dataSilence + holdMs, this.#ending.signal);
    this.#failpoints = new Failpoints(
      options.failpoints,
      {
        held: (point) => this.#post({ type: 'held', point }),
        released: () => this.#post({ type: 'released' }),
      },
      this.#ending.signal,
    );
    this.#side = new DestinationSide(data, this.#silence, this.#board, {
      beforeResume: () => this.#failpoints.reach('before-resume'),
      beforeComplete: () => this.#failpoints.reach('before-complete'),
      leaseEnded: () =>
        this.#post({ type: 'commit-missing', reason: "COMMIT came when this host's lease had ended" }),
    });
    const { signal } = this.#ending;
    this.#arrival = new Arrival(data, this.#side, this.#silence, this.#ledgerMs, signal, (problem) =>
      this.#post({ type: 'recovery', problem }),
    );
    port.on('message', (message: ToDestinationMover) => this.#onMessage(message));
  }

  /** Does the migration to its end, which is the last thing that it posts. */
  async run(): Promise<void> {
    const side = this.#side;
    let reason = '';
    let ledgerArrived = false;
    try {
      await this.#receive();
      await this.#takeOver();
      await this.#arrival.complete();
      this.#makeWay();
      await within(side.ledger.promise, this.#ledgerMs, this.#ending.signal);
      ledgerArrived = true;
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      this.#control.tryHandover(HANDOVER.NONE, HANDOVER.ABANDONED);
    }
    await side.close(ledgerArrived ? undefined : reason);
    const report = {
      ...side.times,
      receivedBytes: BigInt(side.receivedBytesAtCommit || side.receivedBytes),
      refused: BigInt(this.#board.refused),
      clockOffsetMs: side.clock.offsetMs,
      clockErrorMs: side.clock.errorMs,
      postcopy: this.#arrival.report(),
      transforms: side.transformReports(),
    };
    this.#post({ type: 'ended', reason, ledgerArrived, report });
  }

  #post(message: FromDestinationMover): void {
    this.#port.postMessage(message);
  }

  #onMessage(message: ToDestinationMover): void {
    switch (message.type) {
      case 'release-failpoint':
        this.#failpoints.release();
        break;
      case 'stop':
        this.#ending.abort(new Error(message.reason));
        break;
      case 'resume':
        this.#side.resume();
        break;
      case 'recover':
        this.#arrival.recoverNow();
        break;
      case 'guest-came':
        this.#side.shares?.guestCame(message.guest);
        break;
      case 'guest-gone':
        this.#side.shares?.guestGone(message.id);
        break;
    }
  }

  /** Until everything is here. */
  async #receive(): Promise<void> {
    await within(this.#side.connect(), DEADLINES_MS.dataConnect, this.#ending.signal).catch(
      (error: unknown) => {
        const source = `${this.#data.sourceAddress}:${this.#data.sourcePort}`;
        throw new Error(`connecting to the source at ${source}: ${(error as Error).message}`);
      },
    );
    this.#post({ type: 'connected' });
    this.#side.standBy().catch((error: unknown) => this.#ending.abort(error));
    let told = this.#side.receivedBytes;
    const alive = setInterval(() => {
      if (this.#side.receivedBytes !== told) this.#side.sayAlive();
      told = this.#side.receivedBytes;
    }, MOVER_LIMITS.aliveIntervalMs);
    try {
      await this.#silence.during('the rest of the guest', this.#side.whole.promise);
    } finally {
      clearInterval(alive);
    }
    this.#post({ type: 'ready', ledgerDigest: this.#side.ledgerDigest });
  }

  /**
   * From READY until the guest runs here, by COMMIT or by the witness's word; only the main thread ends the
   * wait.
   */
  async #takeOver(): Promise<void> {
    const resumed = this.#side.resumed.promise;
    try {
      await within(
        Promise.race([resumed, this.#side.lost.promise]),
        DEADLINES_MS.commitAnswer,
        this.#ending.signal,
      );
    } catch (error) {
      this.#ending.signal.throwIfAborted();
      this.#post({ type: 'commit-missing', reason: error instanceof Error ? error.message : String(error) });
    }
    const stopped = Promise.withResolvers<never>();
    this.#ending.signal.addEventListener('abort', () => stopped.reject(this.#ending.signal.reason as Error));
    this.#ending.signal.throwIfAborted();
    this.#post({ type: 'resumed', resumedAtMs: await Promise.race([resumed, stopped.promise]) });
  }
}
