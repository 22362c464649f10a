/** All migrations: the checks before one begins, those that run, and how the last ones ended. */

import { RpcError } from '../proto/errors.ts';
import type {
  CoordinatorServiceMigrateRequest,
  CoordinatorServicePredictMigrationRequest,
  CoordinatorServicePredictMigrationResponse,
} from '../proto/generated/godwit/v1/coordinator.ts';
import {
  MigrationPhase,
  type MigrationProgress,
  type MigrationReport,
} from '../proto/generated/godwit/v1/migration.ts';
import { requestedOptionsProblems } from '../proto/migration-options.ts';
import { AUTO } from '../proto/names.ts';
import type { Guests } from './guests.ts';
import { COORDINATOR_LIMITS } from './limits.ts';
import { Migration, type MigrationModules } from './migration.ts';
import type { Placement } from './placement.ts';
import type { Move } from './predictions.ts';

export interface MigrationsModules extends MigrationModules {
  guests: Guests;
  placement: Placement;
}

export class Migrations {
  readonly #modules: MigrationsModules;
  readonly #running = new Map<string, Migration>();
  /** The last reports by the migration's name, the oldest first. */
  readonly #ended = new Map<string, MigrationReport>();
  readonly #closing = new AbortController();

  constructor(modules: MigrationsModules) {
    this.#modules = modules;
  }

  /**
   * Begins to move a guest, or throws an RpcError and has begun nothing. NOT_FOUND: no such guest or host.
   * INVALID_ARGUMENT: bad options, or to where it is. FAILED_PRECONDITION: the guest is lost or being moved,
   * a host is dead. RESOURCE_EXHAUSTED: no room, or too many migrations at a host.
   */
  start(request: CoordinatorServiceMigrateRequest): Migration {
    const plan = this.#plan(request);
    for (const { host } of [plan.source, plan.destination]) this.#refuseCrowded(host);
    const isPredicted = request.predict === true || plan.options.technique === AUTO;
    const migration = new Migration(this.#modules, { ...plan, isPredicted }, this.#closing.signal);
    this.#running.set(migration.name, migration);
    void this.#forgetAtEnd(migration);
    return migration;
  }

  /**
   * Tells what each technique would take to move a guest. Nothing moves. Refuses as `start` does.
   *
   * @throws RpcError also what the probes of guest and link throw
   */
  async predict(
    request: CoordinatorServicePredictMigrationRequest,
    signal: AbortSignal,
  ): Promise<CoordinatorServicePredictMigrationResponse> {
    const plan = this.#plan(request);
    const { prediction } = await this.#modules.predictions.predict(plan, signal);
    return { prediction, source: plan.source.host, destination: plan.destination.host };
  }

  /** What a request asks for, when it can be done. */
  #plan(request: CoordinatorServicePredictMigrationRequest): Move {
    const { guests, placement, watch } = this.#modules;
    const { guest, options } = request;
    const record = guests.record(guest);
    this.#refuseMoving(guest);
    if (options === undefined) throw new RpcError('INVALID_ARGUMENT', 'migrate: no options were sent');
    const problems = requestedOptionsProblems(options);
    if (problems.length > 0) throw new RpcError('INVALID_ARGUMENT', `migrate: ${problems.join('; ')}`);
    const lost = watch.lostReason(guest);
    if (lost !== undefined) {
      throw new RpcError('FAILED_PRECONDITION', `guest "${guest}" is lost and cannot be moved: ${lost}`);
    }
    if (request.destination === record.owner) {
      const message = `guest "${guest}" is on ${record.owner} already; name another destination`;
      throw new RpcError('INVALID_ARGUMENT', message);
    }
    const source = placement.liveHost(record.owner);
    const memoryBytes = Number(record.spec.memoryBytes);
    const destination = placement.choose(request.destination, guest, memoryBytes, record.owner);
    return { guest, record, source, destination, options };
  }

  /** @throws RpcError NOT_FOUND, or FAILED_PRECONDITION when it is over or past its commit point. */
  async cancel(target: string): Promise<void> {
    const orphan = this.#orphan(target);
    if (orphan === undefined) await this.#find(target).cancel();
    else await this.#modules.hosts.cancelMigration(orphan.address, orphan.migration, 'cancelled by request');
  }

  /** @throws RpcError NOT_FOUND, or FAILED_PRECONDITION when it cannot go on as post-copy any more, or never could. */
  async switchToPostCopy(target: string): Promise<void> {
    const orphan = this.#orphan(target);
    if (orphan === undefined) await this.#find(target).switchToPostCopy();
    else await this.#modules.hosts.switchMigration(orphan.address, orphan.migration);
  }

  /**
   * @throws RpcError NOT_FOUND; FAILED_PRECONDITION when it is not in postcopy-paused, or its pages are lost
   *   already; UNAVAILABLE when the source cannot be reached
   */
  async recover(target: string): Promise<void> {
    const orphan = this.#orphan(target);
    if (orphan !== undefined) {
      // It is the destination that owns the guest while pages of it follow.
      await this.#modules.hosts.recoverMigration(orphan.address, orphan.migration);
      return;
    }
    const failure = this.#moving(target) === undefined ? this.#failureOf(target) : '';
    if (failure !== '') {
      const message = `guest "${target}" cannot be recovered: ${failure}; it can only be destroyed`;
      throw new RpcError('FAILED_PRECONDITION', message);
    }
    await this.#find(target).recover();
  }

  async releaseFailpoint(migration: string): Promise<void> {
    await this.#find(migration).releaseFailpoint();
  }

  /** Whether it was this coordinator's and is over; the last ones are remembered. */
  hasEnded(migration: string): boolean {
    return this.#ended.has(migration);
  }

  /** The migration that moves a guest now, or undefined. */
  migrationOf(guest: string): string | undefined {
    return this.#moving(guest)?.name;
  }

  /** The host from which it does. */
  sourceOf(guest: string): string | undefined {
    return this.#moving(guest)?.plan.source.host;
  }

  /** How the migration stands that moves a guest now, if anything is known of it. */
  progressOf(guest: string): MigrationProgress | undefined {
    return this.#moving(guest)?.progress;
  }

  /** Whether a guest certainly runs at the destination of its migration, though pages of it may be on their way. */
  isArriving(guest: string): boolean {
    const migration = this.#moving(guest);
    const record = this.#modules.store.guest(guest);
    if (migration === undefined || record === undefined || record.handover !== undefined) return false;
    return migration.hasLatePages && record.owner === migration.plan.destination.host;
  }

  /** Where the running migrations lead. */
  *moves(): Iterable<{ guest: string; destination: string }> {
    for (const { plan } of this.#running.values()) {
      yield { guest: plan.guest, destination: plan.destination.host };
    }
  }

  /** Lets go of all; the hosts bring to an end what they have begun. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([...this.#running.values()].map(({ ended }) => ended));
  }

  /** Why a guest that does not move can run no more, as its host or the end of its last migration says; or empty. */
  #failureOf(guest: string): string {
    const { registry, store } = this.#modules;
    const owner = store.guest(guest)?.owner ?? '';
    const held = registry.find(owner)?.held.get(guest)?.failure ?? '';
    const last = [...this.#ended.values()].findLast((report) => report.guest === guest);
    const isFailed = last?.phase === MigrationPhase.MIGRATION_PHASE_FAILED && last.destination === owner;
    return held === '' && isFailed ? last.reason : held;
  }

  #moving(guest: string): Migration | undefined {
    return [...this.#running.values()].find(({ plan }) => plan.guest === guest);
  }

  async #forgetAtEnd(migration: Migration): Promise<void> {
    const report = await migration.ended.catch(() => undefined);
    this.#running.delete(migration.name);
    if (report === undefined) return;
    this.#ended.set(migration.name, report);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > COORDINATOR_LIMITS.endedMigrationsMax && oldest !== undefined) {
      this.#ended.delete(oldest);
    }
  }

  /** A migration that an earlier coordinator began, and that its source still speaks of. */
  #orphan(target: string): { address: string; migration: string } | undefined {
    const { guests, registry } = this.#modules;
    const found = guests
      .list()
      .find(({ migration, spec }) => migration !== '' && [migration, spec?.name].includes(target));
    if (found === undefined || this.#running.has(found.migration)) return undefined;
    const source = registry.find(found.owner);
    return source && { address: source.address, migration: found.migration };
  }

  #find(target: string): Migration {
    const running = [...this.#running.values()];
    const found = this.#running.get(target) ?? running.find(({ plan }) => plan.guest === target);
    if (found !== undefined) return found;
    const report = this.#ended.get(target);
    if (report !== undefined) {
      const how = report.phase === MigrationPhase.MIGRATION_PHASE_COMPLETED ? 'completed' : 'ended';
      const where = report.owner || 'no host';
      const message = `migration ${target} has ${how}: guest "${report.guest}" is on ${where}`;
      throw new RpcError('FAILED_PRECONDITION', message);
    }
    const names = running.map(({ name, plan }) => `${name} (${plan.guest})`);
    const list = names.length === 0 ? 'none runs' : `running are ${names.join(', ')}`;
    throw new RpcError('NOT_FOUND', `no migration of that name and no moving guest "${target}"; ${list}`);
  }

  #refuseMoving(guest: string): void {
    const { guests } = this.#modules;
    const migration = this.migrationOf(guest) ?? guests.record(guest).handover?.migration;
    if (migration !== undefined) {
      const message = `guest "${guest}" is being moved by migration ${migration}; wait or cancel it`;
      throw new RpcError('FAILED_PRECONDITION', message);
    }
    if (guests.isBusy(guest)) {
      const message = `guest "${guest}" is being created or destroyed; try again`;
      throw new RpcError('FAILED_PRECONDITION', message);
    }
  }

  #refuseCrowded(host: string): void {
    const { migrationsPerHostMax } = COORDINATOR_LIMITS;
    const running = [...this.#running.values()].filter(
      ({ plan }) => plan.source.host === host || plan.destination.host === host,
    );
    if (running.length < migrationsPerHostMax) return;
    throw new RpcError(
      'RESOURCE_EXHAUSTED',
      `${host} takes part in ${running.length} migrations, which is the most; wait until one has ended`,
    );
  }
}
