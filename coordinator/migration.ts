/** One migration, from the request to the report. It does not depend on whoever asked for it. */

import { randomBytes } from 'node:crypto';
import { PATIENCE } from '../proto/deadlines.ts';
import { errorText, isUnanswered, RpcError } from '../proto/errors.ts';
import type {
  HostServiceGetIncomingResponse,
  SourceListening,
  SourceOutcome,
  Ticket,
} from '../proto/generated/godwit/v1/host.ts';
import {
  type MigrationOptions,
  MigrationPhase,
  type MigrationProgress,
  type MigrationReport,
  type PostcopyArrival,
} from '../proto/generated/godwit/v1/migration.ts';
import type { Prediction } from '../proto/generated/godwit/v1/prediction.ts';
import { isRecoveredByHand, maySwitchByItself } from '../proto/migration-options.ts';
import { AUTO } from '../proto/names.ts';
import { BoundedQueue } from './bounded-queue.ts';
import type { EventLog } from './events.ts';
import { COORDINATOR_LIMITS } from './limits.ts';
import { type FateModules, migrationFate } from './migration-fate.ts';
import type { GuestRecord } from './ownership-store.ts';
import type { Predictions } from './predictions.ts';
import type { KnownHost } from './registry.ts';
import { afterSettling } from './settling.ts';
import { newTicket } from './tickets.ts';

const NAME_BYTES = 6;
/** Between two questions to a destination that has not answered. */
const POLL_MS = 100;
/** Between two questions to a destination whose pages are on their way. */
const ARRIVAL_POLL_MS = 250;
const MS_PER_S = 1000;
const CANCEL_REASON = 'cancelled by request';

export interface MigrationModules extends FateModules {
  events: EventLog;
  predictions: Predictions;
}

export interface MigrationPlan {
  guest: string;
  record: GuestRecord;
  source: KnownHost;
  destination: KnownHost;
  options: MigrationOptions;
  /** Whether it is to be predicted; `auto` is always. */
  isPredicted: boolean;
}

export class Migration {
  readonly name = `m-${randomBytes(NAME_BYTES).toString('hex')}`;
  /** With `auto` its options are those that were chosen, once they have been. */
  plan: MigrationPlan;
  /** The report; rejects when the coordinator ends before the migration does. */
  readonly ended: Promise<MigrationReport>;
  readonly #modules: MigrationModules;
  readonly #signal: AbortSignal;
  #ticket: Ticket | undefined;
  readonly #followers = new Set<BoundedQueue<MigrationProgress>>();
  readonly #known = Promise.withResolvers<void>();
  readonly #over = new AbortController();
  #progress: MigrationProgress | undefined;
  #arrival: PostcopyArrival | undefined;
  #isSwitched = false;
  #isListening = false;
  /** Why the destination could not take part. */
  #refusal: string | undefined;
  /** Whether the source has said how its part ended. */
  #hasOutcome = false;
  #prediction: Prediction | undefined;
  /** While it is predicted nothing has begun: aborted, nothing will. */
  readonly #withdrawal = new AbortController();
  #isPredicting: boolean;

  constructor(modules: MigrationModules, plan: MigrationPlan, signal: AbortSignal) {
    this.#modules = modules;
    this.plan = plan;
    this.#signal = signal;
    this.#isPredicting = plan.isPredicted;
    this.ended = this.#run().finally(() => {
      this.#ticket = undefined;
      this.#known.resolve();
      this.#over.abort();
      for (const follower of this.#followers) follower.close();
    });
    // Whoever asked for it may have gone away: then nobody waits for this.
    this.ended.catch(() => {});
  }

  /** The progress from now on, until the migration has ended; beginning with the last that is known. */
  follow(): BoundedQueue<MigrationProgress> {
    const follower = new BoundedQueue<MigrationProgress>(COORDINATOR_LIMITS.progressMax, 'drop-oldest');
    if (this.progress !== undefined) follower.push(this.progress);
    this.#followers.add(follower);
    return follower;
  }

  unfollow(follower: BoundedQueue<MigrationProgress>): void {
    follower.close();
    this.#followers.delete(follower);
  }

  /** Asks the source to give up, if it knows of it. @throws RpcError FAILED_PRECONDITION past the commit point. */
  async cancel(): Promise<void> {
    const { hosts } = this.#modules;
    if (this.#isPredicting) {
      this.#withdrawal.abort();
      return;
    }
    // Before its first word the source may not know the migration yet.
    await this.#known.promise;
    await hosts.cancelMigration(this.plan.source.address, this.name, CANCEL_REASON);
  }

  /** What is known of it now: the source's word, and, when pages follow, the destination's. */
  get progress(): MigrationProgress | undefined {
    return this.#progress && { ...this.#progress, arrival: this.#arrival };
  }

  /** Whether pages may follow when the guest runs at the destination: by its options, or switched by hand. */
  get hasLatePages(): boolean {
    return this.#isSwitched || maySwitchByItself(this.plan.options);
  }

  /** Has the source switch to post-copy at the end of what it sends now. @throws RpcError FAILED_PRECONDITION */
  async switchToPostCopy(): Promise<void> {
    const { hosts, events } = this.#modules;
    await this.#known.promise;
    const wasSwitched = this.#isSwitched;
    // Before it is known: should the answer be lost, it may have been done.
    this.#isSwitched = true;
    try {
      await hosts.switchMigration(this.plan.source.address, this.name);
    } catch (error) {
      if (!isUnanswered(error)) this.#isSwitched = wasSwitched;
      throw error;
    }
    events.emit('migration-switched', this.plan.guest, `${this.name}: to post-copy, by hand`);
  }

  /**
   * Has the destination connect to the source again, now.
   *
   * @throws RpcError FAILED_PRECONDITION when the link is not lost; UNAVAILABLE when that was in vain
   */
  async recover(): Promise<void> {
    const { hosts, registry } = this.#modules;
    const { source, destination, guest } = this.plan;
    await this.#known.promise;
    try {
      await hosts.recoverMigration(destination.address, this.name);
    } catch (error) {
      const isWhole = this.#arrival?.missingPages === 0n;
      if (!isUnanswered(error) || isWhole || registry.liveness(source.host) !== 'dead') throw error;
      const why = `${registry.absence(source.host)}: unless it comes back, the pages that have not come are lost`;
      throw new RpcError(
        'UNAVAILABLE',
        `${errorText(error)}; ${why}, and guest "${guest}" can only be destroyed`,
      );
    }
  }

  /** Lets it go on from the failpoint at which one of its sides stands. */
  async releaseFailpoint(): Promise<void> {
    const { hosts } = this.#modules;
    const { source, destination } = this.plan;
    const sides = [source, destination].map(({ address }) => hosts.releaseFailpoint(address, this.name));
    const results = await Promise.allSettled(sides);
    const [first] = results;
    if (first?.status === 'rejected' && results.every(({ status }) => status === 'rejected'))
      throw first.reason;
  }

  async #run(): Promise<MigrationReport> {
    const { events, predictions, witness, clock } = this.#modules;
    const { guest, source, destination, options } = this.plan;
    const detail = `${this.name}: ${source.host} to ${destination.host}, ${options.technique}`;
    events.emit('migration-started', guest, detail);
    let outcome: SourceOutcome | undefined;
    let broken: string | undefined;
    try {
      await this.#predict();
      outcome = this.#withdrawal.signal.aborted
        ? withdrawn()
        : await afterSettling(clock, witness.settledAtMs(guest), () => this.#move());
    } catch (error) {
      const isSilent = error instanceof RpcError && isUnanswered(error);
      broken = isSilent ? `${source.host} does not answer any more (${error.details})` : errorText(error);
    }
    const report = await this.#report(outcome, broken);
    predictions.learn(report);
    const phase = phaseName(report.phase);
    const reason = report.reason === '' ? '' : `: ${report.reason}`;
    events.emit(
      'migration-ended',
      guest,
      `${this.name}: ${phase}, owner ${report.owner || 'nobody'}${reason}`,
    );
    return report;
  }

  /** Has it predicted, if that was asked for, and its technique chosen. @throws RpcError when nothing can be chosen */
  async #predict(): Promise<void> {
    const { events, predictions } = this.#modules;
    const { guest, isPredicted, options } = this.plan;
    if (!isPredicted) return;
    const { signal: withdrawal } = this.#withdrawal;
    try {
      const signal = AbortSignal.any([this.#signal, withdrawal]);
      const { prediction, options: chosen } = await predictions.predict(this.plan, signal);
      this.#prediction = prediction;
      this.plan = { ...this.plan, options: chosen };
      const what =
        prediction.reason || `predicted from a probe of ${prediction.basis?.probeMs.toFixed(0)} ms`;
      events.emit('migration-predicted', guest, `${this.name}: ${what}`);
    } catch (error) {
      if (withdrawal.aborted) return;
      if (options.technique === AUTO) throw error;
      // It goes on without: what was asked for is the move.
      events.emit('migration-predicted', guest, `${this.name}: no prediction: ${errorText(error)}`);
    } finally {
      this.#isPredicting = false;
    }
  }

  /** The source's part: its last word. Throws when it refuses or when the stream breaks. */
  async #move(): Promise<SourceOutcome> {
    const { hosts } = this.#modules;
    const { guest, record, source, destination, options } = this.plan;
    // Not before: the guest's last move may have to be settled first, and that takes its time.
    this.#ticket = newTicket({
      ...{ migration: this.name, guest, epoch: record.epoch },
      ...{ source: source.host, destination: destination.host },
    });
    const stream = hosts.startMigration(
      source.address,
      {
        migration: this.name,
        guest,
        epoch: record.epoch,
        destination: destination.host,
        options,
        ticket: this.#ticket,
      },
      this.#signal,
    );
    for await (const { event } of stream) {
      this.#known.resolve();
      if (event?.$case === 'listening') void this.#prepareDestination(event.value);
      else if (event?.$case === 'progress') this.#publish(event.value);
      else if (event?.$case === 'outcome') {
        this.#hasOutcome = true;
        const { phase, reason } = event.value;
        // Cancelled before it was told of that: the destination has only heard of it first, and refused nothing.
        const isOwn = phase === MigrationPhase.MIGRATION_PHASE_CANCELLED && reason !== this.#refusal;
        if (isOwn) this.#refusal = undefined;
        return event.value;
      }
    }
    throw new Error(`${source.host} ended its part of the migration without saying how`);
  }

  async #prepareDestination(listening: SourceListening): Promise<void> {
    this.#isListening = true;
    const { hosts } = this.#modules;
    const { record, source, destination, options } = this.plan;
    try {
      await hosts.prepareIncoming(destination.address, destination.host, {
        migration: this.name,
        spec: record.spec,
        epoch: record.epoch,
        source: source.host,
        listening,
        options,
        ticket: this.#ticket,
      });
    } catch (error) {
      // The source has ended it, and so was the destination asked to: that is no refusal, and says nothing new.
      if (this.#hasOutcome) return;
      this.#refusal = errorText(error);
      // The source's own deadline ends it should this not arrive.
      await hosts.cancelMigration(source.address, this.name, this.#refusal).catch(() => {});
    }
  }

  #publish(progress: MigrationProgress): void {
    if (progress.phase !== this.#progress?.phase) {
      const detail = `${this.name}: ${phaseName(progress.phase)}`;
      this.#modules.events.emit('migration-phase', this.plan.guest, detail);
    }
    const isFirst = this.#progress === undefined || !isPostCopy(this.#progress.phase);
    this.#progress = progress;
    this.#show();
    if (isFirst && isPostCopy(progress.phase)) void this.#followArrival();
  }

  #show(): void {
    const { progress } = this;
    if (progress === undefined) return;
    for (const follower of this.#followers) follower.push(progress);
  }

  /**
   * Asks the destination how its guest fares, for as long as the migration lasts. When that needs no page any more, or
   * waits for none, the source is told: with its link lost it would not hear of it, and may wait for ever.
   */
  async #followArrival(): Promise<void> {
    const { clock, hosts } = this.#modules;
    const { source, destination, guest } = this.plan;
    const { signal } = this.#over;
    for (let isOver = false; !signal.aborted; ) {
      // A destination that is silent now may answer later; what it said last stands until then.
      const arrival = await hosts.arrival(destination.address, this.name).catch(() => this.#arrival);
      if (signal.aborted) return;
      isOver ||= this.#arrival !== undefined && arrival === undefined;
      this.#arrival = arrival;
      this.#show();
      const why = `${destination.host} waits for no more pages of guest "${guest}"`;
      // One that has nothing more to do says so.
      if (isOver) await hosts.cancelMigration(source.address, this.name, why, true).catch(() => {});
      await clock.sleep(ARRIVAL_POLL_MS, signal);
    }
  }

  async #report(outcome: SourceOutcome | undefined, broken: string | undefined): Promise<MigrationReport> {
    const { store, watch } = this.#modules;
    const { guest, source, destination, options, record } = this.plan;
    const owner = await migrationFate(this.#modules, {
      key: { guest, epoch: record.epoch, migration: this.name },
      source: source.host,
      isSourceDone: outcome !== undefined,
      signal: this.#signal,
    });
    const isMoved = owner === destination.host;
    const incoming = isMoved ? await this.#incoming() : undefined;
    if (owner === source.host) await this.#clearDestination();
    const lost = `the guest is lost: ${watch.lostReason(guest) ?? 'no host has all of it'}`;
    const end = store.guest(guest) === undefined ? 'the guest was destroyed' : lost;
    const isWhole =
      isMoved && (!this.hasLatePages || allPagesCame(outcome, incoming)) && !hasFailed(incoming);
    const said = this.#refusal ?? (outcome?.reason || broken || '');
    // What was lost on the way is known best where it did not arrive, and that nothing was, too.
    const isKnownThere = isMoved && (!isWhole || outcome?.phase === MigrationPhase.MIGRATION_PHASE_FAILED);
    const reason = isKnownThere ? (incoming?.reason ?? this.#unknown(said)) : said;
    return {
      migration: this.name,
      guest,
      source: source.host,
      destination: destination.host,
      phase: isWhole ? MigrationPhase.MIGRATION_PHASE_COMPLETED : this.#failedPhase(outcome),
      reason: [reason, owner === '' ? end : ''].filter((text) => text !== '').join('; '),
      owner,
      options,
      sourceReport: outcome?.report,
      destinationReport: incoming?.report,
      prediction: this.#prediction,
    };
  }

  #failedPhase(outcome: SourceOutcome | undefined): MigrationPhase {
    const isCancelled = outcome?.phase === MigrationPhase.MIGRATION_PHASE_CANCELLED;
    // That we cancelled since the destination refused is a failure to whoever asked for the migration.
    return isCancelled && this.#refusal === undefined
      ? MigrationPhase.MIGRATION_PHASE_CANCELLED
      : MigrationPhase.MIGRATION_PHASE_FAILED;
  }

  /** Its destination has the guest, and nobody says that it has all of it. */
  #unknown(said: string): string {
    const unknown = `it is not known whether all pages came to ${this.plan.destination.host}`;
    return said === '' ? unknown : `${said}; ${unknown}`;
  }

  /**
   * What the destination saw. It has the guest; should it not say more, the report goes without. While pages may
   * follow it is asked again: it answers only when it has them, or will not get them.
   */
  async #incoming(): Promise<HostServiceGetIncomingResponse | undefined> {
    const { clock, hosts, registry } = this.#modules;
    const { destination, record, options } = this.plan;
    const lateMs = this.hasLatePages ? latePagesMs(options, record.spec.memoryBytes) : 0;
    const untilMs = clock.nowMs() + lateMs;
    for (;;) {
      try {
        return await hosts.getIncoming(destination.address, this.name);
      } catch (error) {
        const isLate = this.#signal.aborted || clock.nowMs() >= untilMs;
        if (isLate || !isUnanswered(error) || registry.liveness(destination.host) !== 'alive')
          return undefined;
      }
      await clock.sleep(POLL_MS, this.#signal);
    }
  }

  /** The source has the guest: nothing of it stays at the destination. */
  async #clearDestination(): Promise<void> {
    if (!this.#isListening) return;
    const { hosts, store } = this.#modules;
    const { guest, destination } = this.plan;
    const isTold = store.closedHandover(guest, this.name)?.destination === destination.host;
    // A handover that was begun is the witness's to tell, and it does so until the destination has heard.
    if (isTold) return;
    const why = `the guest stays at ${this.plan.source.host}`;
    // A destination that is gone or knows of nothing has nothing; one that is silent ends it at its own
    // deadline.
    await hosts.cancelMigration(destination.address, this.name, why).catch(() => {});
  }
}

/** Of a migration that was cancelled before its source heard of it. */
function withdrawn(): SourceOutcome {
  return { phase: MigrationPhase.MIGRATION_PHASE_CANCELLED, reason: CANCEL_REASON, report: undefined };
}

/** Whether a guest that its destination has, and whose pages were to follow, is known to have all of them there. */
function allPagesCame(
  outcome: SourceOutcome | undefined,
  incoming: HostServiceGetIncomingResponse | undefined,
): boolean {
  return [outcome?.phase, incoming?.phase].includes(MigrationPhase.MIGRATION_PHASE_COMPLETED);
}

function hasFailed(incoming: HostServiceGetIncomingResponse | undefined): boolean {
  return incoming?.phase === MigrationPhase.MIGRATION_PHASE_FAILED;
}

function isPostCopy(phase: MigrationPhase): boolean {
  const { MIGRATION_PHASE_POSTCOPY_ACTIVE: active, MIGRATION_PHASE_POSTCOPY_PAUSED: paused } = MigrationPhase;
  return phase === active || phase === paused || phase === MigrationPhase.MIGRATION_PHASE_POSTCOPY_RECOVER;
}

/** For how long pages may follow at most, as far as the options say. */
function latePagesMs(options: MigrationOptions, memoryBytes: bigint): number {
  if (isRecoveredByHand(options)) return Number.POSITIVE_INFINITY;
  const { totalTimeLimitMs, recoveryLimitMs, maxPostcopyBandwidthBytesPerS } = options;
  const pushMs =
    maxPostcopyBandwidthBytesPerS === 0
      ? 0
      : (Number(memoryBytes) / maxPostcopyBandwidthBytesPerS) * MS_PER_S;
  return (totalTimeLimitMs + pushMs + recoveryLimitMs) * PATIENCE;
}

function phaseName(phase: MigrationPhase): string {
  const entry = Object.entries(MigrationPhase).find(([, value]) => value === phase);
  return (entry?.[0] ?? `phase ${phase}`).replace('MIGRATION_PHASE_', '').toLowerCase().replaceAll('_', '-');
}
