/**
 * An outgoing migration as the host's main thread owns it: starts the mover, speaks with the witness for it,
 * and sees to it that the guest has exactly one fate here, whatever becomes of the thread: it runs on, or it
 * was handed over and is freed.
 */

import { errorText, RpcError } from '../../proto/errors.ts';
import { HandoverStanding, type SourceOutcome, type Ticket } from '../../proto/generated/godwit/v1/host.ts';
import {
  type MigrationOptions,
  MigrationPhase,
  type MigrationProgress,
  SourceReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { hasLatePages, mayHaveLatePages } from '../../proto/migration-options.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import { HANDOVER, HOLD } from '../guest/control-layout.ts';
import { FreeQuestions } from '../guest/free-reports.ts';
import type { Guest } from '../guest/guest.ts';
import type { ReadyThreads } from '../ready-threads.ts';
import { remainingMs } from './estimates.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { FromSourceMover, MoverWork, ToSourceMover } from './messages.ts';
import { MoverThread } from './mover-thread.ts';
import { progressBoard } from './progress-board.ts';
import { SwitchRequest } from './switch-request.ts';
import type { Side } from './wire.ts';

export interface OutgoingSettings {
  readonly migration: string;
  readonly threads: ReadyThreads;
  readonly guest: Guest;
  readonly options: MigrationOptions;
  readonly ticket: Ticket;
  /** Of SentContents: what the guests that leave with this one have sent, when they are to be compared. */
  readonly gang?: SharedArrayBuffer | undefined;
  /** An address of this host, on which an ephemeral port is opened. */
  readonly listenAddress: string;
}

export interface OutgoingHooks {
  listening(port: number): void;
  progress(progress: MigrationProgress): void;
  /** Before the pause. Resolves when the witness has it on record; a rejection keeps the guest. */
  beginHandover(): Promise<void>;
  /** COMMIT was sent and RESUMED did not come: the host asks the witness. Tells who has the guest. */
  commitUnanswered(): Promise<Side>;
  /** The destination runs the guest, which has pages here still. */
  serving(): void;
  /** The destination needs nothing of the guest here: the host frees it. Answers the time at which that was done. */
  free(): Promise<number>;
}

/** What the mover told when it ended. */
interface Ending {
  readonly reason: string;
  readonly report: SourceReport;
}

export class OutgoingMigration {
  readonly #settings: OutgoingSettings;
  readonly #hooks: OutgoingHooks;
  readonly #board = progressBoard();
  readonly #switchRequest = new SwitchRequest();
  readonly #acceptedAtMs = nowMs();
  readonly #ended = Promise.withResolvers<Ending>();
  /** Resolves when it is known who has the guest, and the guest here is freed or runs. */
  readonly #settled = Promise.withResolvers<void>();
  /** Resolves when the destination needs nothing more of the guest here, or will not get it. */
  readonly #served = Promise.withResolvers<void>();
  #thread: MoverThread<ToSourceMover, FromSourceMover> | undefined;
  #failpoint = '';
  #cancelReason: string | undefined;
  #heardResumed = false;
  #askedWitness = false;
  /** COMMITTED was said to the witness: the guest is freed only at its word (docs/ownership.md, the pledge). */
  #pledged = false;
  #owner: Side | undefined;
  #freedAtMs = 0;
  #switchRequestedAtMs = 0;
  #note = '';
  /** What a rule said of what it is about to do. */
  #announcement = '';

  constructor(settings: OutgoingSettings, hooks: OutgoingHooks) {
    this.#settings = settings;
    this.#hooks = hooks;
    const { control } = settings.guest;
    // What an earlier migration of this guest left there is history.
    control.tryHandover(control.handover(), HANDOVER.NONE);
  }

  /** Does the migration to its end. Never rejects for what happens on the way: the outcome tells. */
  async run(): Promise<SourceOutcome> {
    const { migration, threads, guest, options, ticket, gang, listenAddress } = this.#settings;
    // Made now: a guest that was handed over is freed, and cannot be looked at.
    const questions = new FreeQuestions(guest.shared);
    const wasRunning = (guest.control.holds() & HOLD.PAUSE) === 0;
    const work: MoverWork = {
      side: 'source',
      data: {
        migration,
        shared: guest.shared,
        options,
        ticket,
        gang,
        board: this.#board.shared,
        switchRequest: this.#switchRequest.shared,
        listenAddress,
        acceptedAtMs: this.#acceptedAtMs,
      },
    };
    const thread = new MoverThread<ToSourceMover, FromSourceMover>(threads.take('mover'), work, {
      message: (message) => this.#onMessage(message),
      exited: (error) => this.#onExit(error),
    });
    this.#thread = thread;
    if (this.#cancelReason !== undefined) thread.post({ type: 'stop', reason: this.#cancelReason });
    const timer = setInterval(() => this.#hooks.progress(this.#progress()), MOVER_LIMITS.progressIntervalMs);
    const { reason, report } = await this.#ended.promise;
    await thread.end();
    clearInterval(timer);
    // Whatever became of the thread that held them: nobody slows the guest any more.
    guest.control.throttle.release();
    if (this.#isHandedOver) await this.#settled.promise;
    else this.#keep(wasRunning);
    // A mover that died has not told a guest that stays, also at the witness's word.
    questions.stop();
    report.freedAtMs = this.#freedAtMs;
    report.switchRequestedAtMs = this.#switchRequestedAtMs;
    return { phase: this.#finalPhase(), reason: this.#outcomeReason(reason), report };
  }

  /** Ends the migration, the guest runs on here. False when it is too late: it was committed. */
  cancel(reason: string): boolean {
    const { control } = this.#settings.guest;
    if (!control.tryHandover(HANDOVER.NONE, HANDOVER.KEPT)) return control.handover() === HANDOVER.KEPT;
    this.#cancelReason = reason;
    this.#thread?.post({ type: 'stop', reason: `cancelled: ${reason}` });
    return true;
  }

  /** Ends the service of a guest that is no more at the destination. False when it was not known to run there. */
  guestGone(reason: string): boolean {
    if (this.#owner !== 'destination') return false;
    this.#thread?.post({ type: 'stop', reason });
    return true;
  }

  /**
   * What is being sent now is the last before the guest is paused; what then remains follows as post-copy.
   *
   * @throws RpcError FAILED_PRECONDITION when that cannot be, and why
   */
  switchToPostCopy(): void {
    const problem = this.#switchProblem();
    if (problem !== undefined) {
      const what = `migration "${this.#settings.migration}" of guest "${this.#settings.guest.spec.name}"`;
      throw new RpcError('FAILED_PRECONDITION', `${what} cannot be switched to post-copy: ${problem}`);
    }
    this.#switchRequestedAtMs = nowMs();
  }

  /** Asks for the switch, unless there is something against it. */
  #switchProblem(): string | undefined {
    const { technique } = this.#settings.options;
    if (technique === 'post-copy') return 'it is post-copy from its beginning';
    if (!mayHaveLatePages(this.#settings.options)) {
      return `${technique} pauses the guest before it sends anything; take pre-copy or hybrid`;
    }
    if (this.#cancelReason !== undefined) return 'it is being cancelled';
    if (this.#switchRequestedAtMs > 0) return 'it was switched by hand already';
    if (this.#switchRequest.request()) return undefined;
    const hasSwitched = this.#board.phase === MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE;
    if (hasSwitched || hasLatePages(this.#settings.options)) return 'it has switched by itself already';
    return this.#isHandedOver
      ? "it is past its commit point: the guest is the destination's, with all its pages"
      : 'its guest is being paused already, to send what remains';
  }

  /** Lets a migration that is held at a failpoint go on. */
  releaseFailpoint(): void {
    this.#thread?.post({ type: 'release-failpoint' });
  }

  /** What this side can promise now; docs/ownership.md. Asked by the witness only: COMMITTED is a pledge. */
  standing(): HandoverStanding {
    if (this.#heardResumed) return HandoverStanding.HANDOVER_STANDING_RESUMED;
    if (this.#owner === 'source') return HandoverStanding.HANDOVER_STANDING_KEPT;
    if (this.#owner === 'destination') return HandoverStanding.HANDOVER_STANDING_COMMITTED;
    const handover = this.#settings.guest.control.handover();
    if (handover === HANDOVER.KEPT) return HandoverStanding.HANDOVER_STANDING_KEPT;
    if (handover !== HANDOVER.COMMITTED) return HandoverStanding.HANDOVER_STANDING_MOVING;
    this.#pledged = true;
    return HandoverStanding.HANDOVER_STANDING_COMMITTED;
  }

  /** The witness has decided. */
  decide(owner: Side): void {
    const { control } = this.#settings.guest;
    if (control.tryHandover(HANDOVER.NONE, owner === 'source' ? HANDOVER.KEPT : HANDOVER.COMMITTED)) {
      // Before the commit point: the mover knows nothing of it and is to stop.
      this.#thread?.post({ type: 'stop', reason: `the witness gave the guest to the ${owner}` });
    }
    if (this.#isHandedOver) void this.#settle(owner);
  }

  /** Connections and frames that were refused so far. */
  get refused(): number {
    return this.#board.refused;
  }

  get #isHandedOver(): boolean {
    return this.#settings.guest.control.handover() === HANDOVER.COMMITTED;
  }

  #onMessage(message: FromSourceMover): void {
    switch (message.type) {
      case 'listening':
        this.#hooks.listening(message.port);
        break;
      case 'begin-handover':
        this.#hooks.beginHandover().then(
          () => this.#thread?.post({ type: 'handover-begun' }),
          (error: unknown) => this.#thread?.post({ type: 'handover-refused', reason: errorText(error) }),
        );
        return;
      case 'note':
        this.#announcement = message.text;
        this.#hooks.progress(this.#progress());
        break;
      case 'held':
        this.#failpoint = message.point;
        this.#hooks.progress(this.#progress());
        break;
      case 'released':
        this.#failpoint = '';
        return;
      case 'resumed':
        this.#heardResumed = true;
        if (this.#pledged) this.#askWitness();
        else void this.#settle('destination');
        return;
      case 'served':
        this.#served.resolve();
        return;
      case 'commit-unanswered':
        this.#askWitness();
        break;
      case 'ended':
        this.#served.resolve();
        this.#ended.resolve(message);
        break;
    }
  }

  /** A thread that dies before it said so: the guest stays, or, after the commit point, the witness tells. */
  #onExit(error: Error): void {
    const { control } = this.#settings.guest;
    control.tryHandover(HANDOVER.NONE, HANDOVER.KEPT);
    if (this.#isHandedOver && this.#owner === undefined) this.#askWitness();
    this.#served.resolve();
    const report = SourceReport.fromPartial({ acceptedAtMs: this.#acceptedAtMs });
    this.#ended.resolve({ reason: error.message, report });
  }

  #askWitness(): void {
    if (this.#askedWitness || this.#owner !== undefined) return;
    this.#askedWitness = true;
    this.#note = 'COMMIT was not answered: the witness is asked who has the guest';
    this.#hooks.commitUnanswered().then(
      (owner) => this.#settle(owner),
      (error: unknown) => {
        // The guest stands still until `decide`, or the destination's late answer.
        this.#note = `COMMIT was not answered, and the witness cannot be asked: ${errorText(error)}`;
      },
    );
  }

  /** After the commit point: frees the guest or takes it back. The first word counts. */
  async #settle(owner: Side): Promise<void> {
    if (this.#owner !== undefined) return;
    this.#owner = owner;
    this.#thread?.post({ type: 'decided', owner });
    try {
      if (owner === 'destination') this.#freedAtMs = await this.#free();
      else await this.#settings.guest.resume();
    } catch (error) {
      this.#note = errorText(error);
    }
    this.#settled.resolve();
  }

  /** Frees the guest, which runs at the destination, when that has all pages. */
  async #free(): Promise<number> {
    if (!this.#wasServed) {
      this.#hooks.serving();
      await this.#served.promise;
    }
    return await this.#hooks.free();
  }

  /** The guest stays, and runs if it ran; should the lease forbid it, a hold of the host's keeps it. */
  #keep(wasRunning: boolean): void {
    const { control } = this.#settings.guest;
    this.#owner = 'source';
    if (wasRunning && this.#board.paused === 1) control.resume();
  }

  #finalPhase(): MigrationPhase {
    if (this.#owner === 'destination' && this.#wasServed) return MigrationPhase.MIGRATION_PHASE_COMPLETED;
    if (this.#owner === 'destination') return MigrationPhase.MIGRATION_PHASE_FAILED;
    if (this.#cancelReason !== undefined) return MigrationPhase.MIGRATION_PHASE_CANCELLED;
    return MigrationPhase.MIGRATION_PHASE_FAILED;
  }

  #outcomeReason(moverReason: string): string {
    if (this.#owner === 'destination' && !this.#wasServed) {
      return `the guest runs at the destination, which did not get all its pages: ${moverReason}`;
    }
    if (this.#owner === 'destination') return this.#heardResumed ? '' : this.#note;
    return this.#cancelReason ?? moverReason;
  }

  /** Whether the destination has every page. */
  get #wasServed(): boolean {
    return this.#board.owedPages === 0;
  }

  #progress(): MigrationProgress {
    const board = this.#board;
    const cancelling = this.#cancelReason !== undefined;
    const phase = board.phase === 0 ? MigrationPhase.MIGRATION_PHASE_SETUP : (board.phase as MigrationPhase);
    const roundMs = nowMs() - board.roundStartMs;
    const roundBytes = board.transferredBytes - board.roundStartBytes;
    // The first round has no estimates from an earlier one: what has left so far must do.
    const bandwidth =
      board.bandwidthBytesPerS > 0 || board.roundStartMs === 0
        ? board.bandwidthBytesPerS
        : (roundBytes / Math.max(roundMs, 1)) * 1000;
    const pageBytes = board.pageBytes || Math.min(roundBytes / Math.max(board.roundPagesSent, 1), PAGE_BYTES);
    const isStalled = phase === MigrationPhase.MIGRATION_PHASE_POSTCOPY_PAUSED;
    const pagesLeft = Math.max(board.roundPages - board.roundPagesSent, 0);
    return {
      migration: this.#settings.migration,
      phase: cancelling ? MigrationPhase.MIGRATION_PHASE_CANCELLING : phase,
      round: board.round,
      elapsedMs: nowMs() - this.#acceptedAtMs,
      transferredBytes: BigInt(board.transferredBytes),
      roundPages: BigInt(board.roundPages),
      roundPagesSent: BigInt(board.roundPagesSent),
      dirtyRatePagesPerS: board.dirtyRatePagesPerS,
      bandwidthBytesPerS: bandwidth,
      expectedDowntimeMs: board.expectedDowntimeMs,
      remainingMs: isStalled ? 0 : remainingMs(pagesLeft, pageBytes, bandwidth, board.dirtyRatePagesPerS),
      note: this.#note || this.#announcement,
      failpoint: this.#failpoint,
      postcopyRequests: BigInt(board.postcopyRequests),
      postcopyPushedPages: BigInt(board.postcopyPushedPages),
      switchRequestedMs: this.#switchRequestedAtMs === 0 ? 0 : this.#switchRequestedAtMs - this.#acceptedAtMs,
      arrival: undefined,
      roundTripMs: known(board.roundTripMs),
      leastRoundTripMs: known(board.leastRoundTripMs),
    };
  }
}

/** What a board says that has no value yet. */
function known(ms: number): number | undefined {
  return Number.isNaN(ms) || ms === 0 ? undefined : ms;
}
