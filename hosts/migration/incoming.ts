/**
 * An incoming migration as the host's main thread owns it: starts the mover, speaks with the witness for it,
 * and sees to it that the guest here runs when it is this host's, and is discarded when it is not, whatever
 * becomes of the thread.
 */

import { errorText, RpcError } from '../../proto/errors.ts';
import { HandoverStanding, type Ticket } from '../../proto/generated/godwit/v1/host.ts';
import {
  DestinationReport,
  type MigrationOptions,
  MigrationPhase,
  type PostcopyArrival,
} from '../../proto/generated/godwit/v1/migration.ts';
import { isRecoveredByHand } from '../../proto/migration-options.ts';
import { bootId, nowMs } from '../clock.ts';
import { HANDOVER, VCPU_STATE } from '../guest/control-layout.ts';
import { readFaultStatistics } from '../guest/fault-statistics.ts';
import type { Guest } from '../guest/guest.ts';
import type { ReadyThreads } from '../ready-threads.ts';
import type { LentContents } from '../transform/other-guests.ts';
import type { FromDestinationMover, MoverWork, ToDestinationMover } from './messages.ts';
import { MoverThread } from './mover-thread.ts';
import { progressBoard } from './progress-board.ts';
import type { Side } from './wire.ts';

export interface IncomingSettings {
  readonly migration: string;
  readonly threads: ReadyThreads;
  /** Of Guest.incoming; its control block's `leaseUntilMs` is kept up to date. */
  readonly guest: Guest;
  readonly options: MigrationOptions;
  readonly ticket: Ticket;
  /** The source's name, for people. */
  readonly source: string;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly sourceBootId: string;
  /** Lends what other guests of this host hold, when the guest is to be compared with them. */
  readonly contents?: ContentsLender | undefined;
}

/** The host's contents as an incoming migration sees them; each of its movers is told what comes and goes. */
export interface ContentsLender {
  lend(guest: Guest, tell: (message: ToDestinationMover) => void): Loan;
}

/** What a mover has been lent, until it gives it back. */
export interface Loan {
  readonly lent: LentContents;
  readonly giveBack: () => void;
}

export interface IncomingHooks {
  /** The guest runs here since then; not yet settled. Called at once. */
  resumed(resumedAtMs: number): void;
  /** READY was said and COMMIT does not come: the host asks the witness. Tells who has the guest. */
  commitMissing(): Promise<Side>;
  /** The guest here is not whole, or not this host's: the host discards it. */
  abandoned(reason: string): void;
}

/** How the destination's part ended. */
export interface IncomingResult {
  readonly phase: MigrationPhase;
  readonly reason: string;
  readonly report: DestinationReport;
}

export class IncomingMigration {
  readonly #settings: IncomingSettings;
  readonly #hooks: IncomingHooks;
  readonly #board = progressBoard();
  readonly #connected = Promise.withResolvers<void>();
  readonly #finished = Promise.withResolvers<IncomingResult>();
  #thread: MoverThread<ToDestinationMover, FromDestinationMover> | undefined;
  #loan: Loan | undefined;
  #isConnected = false;
  #ledgerArrived = false;
  /** Of those who wait for a try to connect again: what is wrong with it, or empty. */
  #recovery: PromiseWithResolvers<string> | undefined;
  #failpoint = '';
  #threadEnded = false;
  #cancelReason: string | undefined;
  #askedWitness = false;
  /** Set once and for all when the guest's fate here is known. */
  #fate: 'resumed' | 'abandoned' | undefined;
  #abandonReason = '';
  #report = DestinationReport.fromPartial({});

  constructor(settings: IncomingSettings, hooks: IncomingHooks) {
    this.#settings = settings;
    this.#hooks = hooks;
    this.#connected.promise.catch(() => {});
  }

  /**
   * Opens the connections. Resolves when all of them are up.
   *
   * @throws RpcError UNAVAILABLE when they cannot be had; `abandoned` is not called for that
   */
  async connect(): Promise<void> {
    const { migration, threads, guest, options, ticket, sourceAddress, sourcePort, sourceBootId } =
      this.#settings;
    this.#loan = this.#settings.contents?.lend(guest, (message) => this.#thread?.post(message));
    const work: MoverWork = {
      side: 'destination',
      data: {
        migration,
        shared: guest.shared,
        options,
        ticket,
        board: this.#board.shared,
        sourceAddress,
        sourcePort,
        sharesClock: sourceBootId === bootId(),
        lent: this.#loan?.lent,
      },
    };
    this.#thread = new MoverThread(threads.take('mover'), work, {
      message: (message) => this.#onMessage(message),
      exited: (error) => void this.#onEnd(error.message),
    });
    // Whoever destroys a guest that runs here need not know that its pages are still on their way.
    const onDestroyed = (): void => this.#thread?.post({ type: 'stop', reason: 'the guest was destroyed' });
    guest.ending.addEventListener('abort', onDestroyed, { once: true });
    await this.#connected.promise;
  }

  /** Resolves when the ledger has come, or the migration is over without it. After `connect()`. */
  async finished(): Promise<IncomingResult> {
    return await this.#finished.promise;
  }

  /** What this side can promise now; docs/ownership.md. */
  standing(): HandoverStanding {
    if (this.#fate === 'resumed') return HandoverStanding.HANDOVER_STANDING_RESUMED;
    if (this.#fate === 'abandoned') return HandoverStanding.HANDOVER_STANDING_ABANDONED;
    const { control } = this.#settings.guest;
    const handover = control.handover();
    if (handover === HANDOVER.READY) {
      return control.missingPages > 0
        ? HandoverStanding.HANDOVER_STANDING_READY_LACKING
        : HandoverStanding.HANDOVER_STANDING_READY;
    }
    if (handover === HANDOVER.RESUMED) return HandoverStanding.HANDOVER_STANDING_RESUMED;
    if (handover === HANDOVER.ABANDONED) return HandoverStanding.HANDOVER_STANDING_ABANDONED;
    return HandoverStanding.HANDOVER_STANDING_MOVING;
  }

  /** The witness has decided. */
  decide(owner: Side): void {
    if (owner === 'source') this.#abandon('the witness gave the guest to the source');
    else if (this.#threadEnded) void this.#resumeHere();
    else this.#thread?.post({ type: 'resume' });
  }

  /** Lets a migration that is held at a failpoint go on. */
  releaseFailpoint(): void {
    this.#thread?.post({ type: 'release-failpoint' });
  }

  /** Gives the guest up here, unless it runs here already. */
  cancel(reason: string): void {
    const { control } = this.#settings.guest;
    if (this.#fate !== undefined) return;
    const { NONE, READY, ABANDONED } = HANDOVER;
    if (!control.tryHandover(NONE, ABANDONED) && !control.tryHandover(READY, ABANDONED)) return;
    this.#cancelReason = reason;
    this.#abandon(`cancelled: ${reason}`);
  }

  /**
   * Connects to the source again, now. Resolves when the link is there.
   *
   * @throws RpcError FAILED_PRECONDITION when no link is lost; UNAVAILABLE when this try was in vain
   */
  async recover(): Promise<void> {
    const { migration, guest, source, options } = this.#settings;
    const what = `migration "${migration}" of guest "${guest.spec.name}"`;
    if (!this.#isLinkLost) {
      const { missingPages } = guest.control;
      const why =
        this.#fate === 'resumed' && missingPages === 0 ? 'all its pages have come' : 'it has its link';
      throw new RpcError('FAILED_PRECONDITION', `${what} is not in postcopy-paused: ${why}`);
    }
    this.#recovery ??= Promise.withResolvers();
    this.#thread?.post({ type: 'recover' });
    const problem = await this.#recovery.promise;
    if (problem === '') return;
    const next = this.#threadEnded
      ? 'it is over'
      : isRecoveredByHand(options) && guest.control.missingPages > 0
        ? 'it stays in postcopy-paused, and nothing is lost by that: try again'
        : 'it is tried again until the recovery limit is over';
    throw new RpcError('UNAVAILABLE', `${what}: connecting to ${source} again: ${problem}; ${next}`);
  }

  /** Where the guest stands while pages of it are on their way; undefined before and afterwards. */
  arrival(): PostcopyArrival | undefined {
    const { shared, control, spec } = this.#settings.guest;
    if (this.#fate !== 'resumed' || this.#threadEnded) return undefined;
    const { faults, blocktimeMs } = readFaultStatistics(shared.faults);
    const vcpus = Array.from({ length: spec.vcpuCount }, (_, vcpu) => control.vcpuState(vcpu));
    return {
      missingPages: BigInt(control.missingPages),
      faults: BigInt(faults),
      blocktimeMs,
      waitingVcpus: vcpus.filter((state) => state === VCPU_STATE.FAULTED).length,
      paused: this.#isLinkLost,
    };
  }

  get #isLinkLost(): boolean {
    return !this.#threadEnded && this.#board.isLinkLost === 1;
  }

  /** The failpoint at which the migration stands here now, or empty. */
  get failpoint(): string {
    return this.#failpoint;
  }

  /** Frames that were refused so far. */
  get refused(): number {
    return this.#board.refused;
  }

  #onMessage(message: FromDestinationMover): void {
    switch (message.type) {
      case 'connected':
        this.#isConnected = true;
        this.#connected.resolve();
        break;
      case 'ready':
        this.#settings.guest.expectedDigest = message.ledgerDigest;
        return;
      case 'commit-missing':
        this.#askWitness(message.reason);
        break;
      case 'resumed':
        this.#onResumed(message.resumedAtMs);
        break;
      case 'recovery':
        this.#tried(message.problem);
        break;
      case 'ended':
        this.#report = message.report;
        this.#ledgerArrived = message.ledgerArrived;
        if (message.ledgerArrived) this.#settings.guest.ledgerArrived();
        void this.#onEnd(message.reason);
        break;
      case 'held':
        this.#failpoint = message.point;
        return;
      case 'released':
        this.#failpoint = '';
        return;
    }
  }

  #tried(problem: string): void {
    this.#recovery?.resolve(problem);
    this.#recovery = undefined;
  }

  /** The mover is done, or its thread has died. */
  async #onEnd(reason: string): Promise<void> {
    if (this.#threadEnded) return;
    this.#threadEnded = true;
    this.#tried(reason);
    this.#loan?.giveBack();
    const { control } = this.#settings.guest;
    // It may have died between resuming the guest and saying so.
    if (control.handover() === HANDOVER.RESUMED && this.#fate === undefined) this.#onResumed(nowMs());
    // Nobody is left who could fetch what is missing, and the source has everything.
    if (control.missingPages > 0 && control.tryHandover(HANDOVER.READY, HANDOVER.ABANDONED)) {
      this.#abandon(reason);
    }
    if (this.#fate === undefined && control.handover() === HANDOVER.READY) this.#askWitness(reason);
    else if (this.#fate === undefined) this.#abandon(reason);
    await this.#thread?.end();
    if (this.#fate !== undefined) await this.#finish(reason);
  }

  #onResumed(resumedAtMs: number): void {
    if (this.#fate !== undefined) return;
    this.#fate = 'resumed';
    this.#hooks.resumed(resumedAtMs);
  }

  /** For the mover, when it is no more. */
  async #resumeHere(): Promise<void> {
    const { control } = this.#settings.guest;
    if (!control.tryHandover(HANDOVER.READY, HANDOVER.RESUMED)) return;
    control.resume();
    this.#report.resumedAtMs = nowMs();
    this.#onResumed(this.#report.resumedAtMs);
    await this.#finish('COMMIT did not come; the witness gave the guest to this host');
  }

  #askWitness(reason: string): void {
    if (this.#askedWitness || this.#fate !== undefined) return;
    this.#askedWitness = true;
    this.#hooks.commitMissing().then(
      (owner) => this.decide(owner),
      // It stays READY: `decide`, or COMMIT after all, settles it.
      (error: unknown) => process.stderr.write(`${reason}; asking the witness: ${errorText(error)}\n`),
    );
  }

  /** The guest is not to run here: final, whatever stage it had reached. */
  #abandon(reason: string): void {
    if (this.#fate === 'abandoned') return;
    const { control } = this.#settings.guest;
    for (const from of [HANDOVER.NONE, HANDOVER.READY, HANDOVER.RESUMED]) {
      control.tryHandover(from, HANDOVER.ABANDONED);
    }
    control.requestPause();
    this.#fate = 'abandoned';
    this.#abandonReason = reason;
    if (!this.#threadEnded) this.#thread?.post({ type: 'stop', reason });
    if (this.#isConnected) this.#hooks.abandoned(reason);
    else this.#connected.reject(new RpcError('UNAVAILABLE', reason));
    // Otherwise its thread's end, which follows, brings the report.
    if (this.#threadEnded) void this.#finish(reason);
  }

  /** The guest's fate here is known, and the mover is no more. */
  async #finish(reason: string): Promise<void> {
    this.#report.refused = BigInt(this.#board.refused);
    if (this.#fate === 'resumed' && this.#settings.guest.control.missingPages > 0) {
      this.#loseMissing(reason);
      return;
    }
    if (this.#fate === 'resumed') {
      const { MIGRATION_PHASE_COMPLETED: phase } = MigrationPhase;
      const problem = this.#ledgerArrived ? '' : await this.#recoverLedger(reason);
      this.#finished.resolve({ phase, reason: problem, report: this.#report });
      return;
    }
    const { MIGRATION_PHASE_CANCELLED, MIGRATION_PHASE_FAILED } = MigrationPhase;
    const phase = this.#cancelReason === undefined ? MIGRATION_PHASE_FAILED : MIGRATION_PHASE_CANCELLED;
    this.#finished.resolve({ phase, reason: this.#abandonReason, report: this.#report });
  }

  /** What has not come never will: the guest cannot go on. */
  #loseMissing(why: string): void {
    const { guest, source } = this.#settings;
    const pages = `${guest.control.missingPages} pages`;
    const isGone = guest.ending.aborted;
    const reason = isGone ? `${why}; ${pages} had not come` : `${pages} were lost with ${source}: ${why}`;
    guest.fail(reason);
    const { MIGRATION_PHASE_FAILED: phase } = MigrationPhase;
    this.#finished.resolve({ phase, reason, report: this.#report });
  }

  /**
   * The ledger will not come: what the next host needs of it is in memory, and the digest of the pause can
   * prove it.
   */
  async #recoverLedger(reason: string): Promise<string> {
    try {
      const agrees = await this.#settings.guest.recoverBase();
      return agrees
        ? `no ledger came: ${reason}`
        : `no ledger came, and memory is not as in the pause: ${reason}`;
    } catch (error) {
      return `no ledger came: ${reason}; recovering it: ${errorText(error)}`;
    }
  }
}
