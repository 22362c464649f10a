/** What people do with guests besides moving them: create, destroy, list, watch and audit. */

import { dirtyRateProblems } from '../proto/dirty-rate.ts';
import { errorText, isUnanswered, RpcError } from '../proto/errors.ts';
import type {
  CoordinatorServiceGetGuestStatsResponse,
  GuestEntry,
} from '../proto/generated/godwit/v1/coordinator.ts';
import type { DirtyRateOptions, DirtyRateReport } from '../proto/generated/godwit/v1/dirty_rate.ts';
import { type AuditReport, type GuestSpec, GuestState } from '../proto/generated/godwit/v1/guest.ts';
import type { MigrationProgress } from '../proto/generated/godwit/v1/migration.ts';
import { guestSpecProblems } from '../proto/guest-spec.ts';
import type { Clock } from './clock.ts';
import type { EventLog } from './events.ts';
import { candidates, type GuestWatch } from './guest-watch.ts';
import type { HostClients } from './host-clients.ts';
import { COORDINATOR_LIMITS } from './limits.ts';
import type { GuestRecord, OwnershipStore } from './ownership-store.ts';
import type { Placement } from './placement.ts';
import type { KnownHost, Registry } from './registry.ts';
import { afterSettling } from './settling.ts';
import type { Witness } from './witness.ts';

export interface GuestsModules {
  clock: Clock;
  events: EventLog;
  hosts: HostClients;
  placement: Placement;
  registry: Registry;
  store: OwnershipStore;
  watch: GuestWatch;
  witness: Witness;
  /** The migration that moves a guest now. */
  migrationOf: (guest: string) => string | undefined;
  /** The host from which that migration moves it. */
  sourceOf: (guest: string) => string | undefined;
  /** How that migration stands. */
  progressOf: (guest: string) => MigrationProgress | undefined;
  /** Whether it runs at the destination of that migration already, while pages of it are on their way. */
  isArriving: (guest: string) => boolean;
  /** Whether this coordinator has seen that migration to its end. */
  hasEnded: (migration: string) => boolean;
}

export class Guests {
  readonly #modules: GuestsModules;
  /** Being created or destroyed now. */
  readonly #busy = new Set<string>();

  constructor(modules: GuestsModules) {
    this.#modules = modules;
  }

  isBusy(guest: string): boolean {
    return this.#busy.has(guest);
  }

  /** Makes a guest on `host`, or on the one with the most room; answers where. */
  async create(spec: GuestSpec | undefined, host: string): Promise<string> {
    const { store, placement, events } = this.#modules;
    const checked = this.#checkNew(spec);
    const { name, memoryBytes } = checked;
    const chosen = placement.choose(host, name, Number(memoryBytes));
    this.#busy.add(name);
    try {
      // On record first: a coordinator that dies now finds a guest that its host does not have, never the
      // reverse.
      store.createGuest(checked, chosen.host, 1n);
      await this.#createAt(chosen, checked);
    } finally {
      this.#busy.delete(name);
    }
    events.emit('guest-created', name, `on ${chosen.host}`);
    return chosen.host;
  }

  /** Ends a guest. One that is lost is forgotten, and discarded should its host come back. */
  async destroy(guest: string): Promise<void> {
    const { store, events, registry, watch } = this.#modules;
    const { isArriving } = this.#modules;
    const record = isArriving(guest) ? this.#idle(guest) : this.#atRest(guest, 'destroyed');
    const isLost = watch.lostReason(guest) !== undefined;
    if (record.handover !== undefined && !isLost) {
      const message = `guest "${guest}" is being handed over to ${record.handover.destination}; wait`;
      throw new RpcError('FAILED_PRECONDITION', message);
    }
    this.#busy.add(guest);
    try {
      if (!isLost) {
        const host = this.#ownerOf(guest, record);
        await this.#settled(guest, () => this.#modules.hosts.destroyGuest(host.address, guest));
      }
      if (isLost) await this.#clearDestination(guest, record);
      await this.#clearSource(guest, record.owner);
      const away = candidates(record).filter((host) => registry.liveness(host) !== 'alive');
      store.deleteGuest(guest, away);
    } finally {
      this.#busy.delete(guest);
    }
    events.emit('guest-destroyed', guest, isLost ? 'it was lost' : `on ${record.owner}`);
  }

  /** Of a lost guest: what a destination that lives has of it may wait for the rest in vain. */
  async #clearDestination(guest: string, { handover }: GuestRecord): Promise<void> {
    const { hosts, registry } = this.#modules;
    const known = handover && registry.find(handover.destination);
    if (known === undefined || registry.liveness(known.host) !== 'alive') return;
    const why = `guest "${guest}" was lost, and is destroyed`;
    // A destination that has nothing of it any more says so.
    await hosts.cancelMigration(known.address, handover!.migration, why).catch(() => {});
  }

  /** Whoever serves pages of a guest that is destroyed where it runs might not hear of it: the link may be lost. */
  async #clearSource(guest: string, owner: string): Promise<void> {
    const { hosts, registry, migrationOf, sourceOf } = this.#modules;
    const why = `guest "${guest}" was destroyed`;
    // Of a migration that an earlier coordinator began only the host knows.
    const isServing = ({ host, held }: KnownHost): boolean =>
      host !== owner && (host === sourceOf(guest) || held.has(guest));
    await Promise.all(
      registry
        .hosts()
        .filter(isServing)
        .map(({ address, held }) => {
          const migration = migrationOf(guest) ?? held.get(guest)?.migration ?? '';
          // A host that serves nothing says so; one that is silent finds out by its own deadline.
          return hosts.cancelMigration(address, migration, why, true).catch(() => {});
        }),
    );
  }

  list(): GuestEntry[] {
    const { store, watch, registry, migrationOf, progressOf } = this.#modules;
    return store.guests().map(([name, record]) => {
      const { spec, owner, epoch, handover } = record;
      const lost = watch.lostReason(name) ?? '';
      const held = registry.find(owner)?.held.get(name);
      return {
        spec,
        owner: lost === '' ? owner : '',
        epoch,
        state: lost === '' ? this.#state(name, record) : GuestState.GUEST_STATE_UNSPECIFIED,
        migration: migrationOf(name) ?? handover?.migration ?? this.#heldBy(name, owner),
        lost,
        nicProblem: held?.nicProblem ?? '',
        progress: progressOf(name),
      };
    });
  }

  stats(guest: string, sinceMs: number): Promise<CoordinatorServiceGetGuestStatsResponse> {
    const host = this.#ownerOf(guest, this.record(guest));
    return this.#modules.hosts.guestStats(host.address, guest, sinceMs);
  }

  audit(guest: string): Promise<AuditReport | undefined> {
    const host = this.#ownerOf(guest, this.#atRest(guest, 'audited'));
    return this.#settled(guest, () => this.#modules.hosts.auditGuest(host.address, guest));
  }

  /** Watches how fast a guest writes. While a migration moves it, its host says what can be measured then. */
  measureDirtyRate(
    guest: string,
    options: DirtyRateOptions | undefined,
    signal: AbortSignal,
  ): Promise<DirtyRateReport | undefined> {
    const problems = options === undefined ? ['the request has no options'] : dirtyRateProblems(options);
    if (options === undefined || problems.length > 0) {
      throw new RpcError('INVALID_ARGUMENT', `measuring a dirty rate: ${problems.join('; ')}`);
    }
    const { address } = this.#ownerOf(guest, this.#idle(guest));
    const measure = () => this.#modules.hosts.measureDirtyRate(address, guest, options, signal);
    return this.#settled(guest, measure);
  }

  /** @throws RpcError NOT_FOUND with the names that there are. */
  record(guest: string): GuestRecord {
    const { store } = this.#modules;
    const record = store.guest(guest);
    if (record !== undefined) return record;
    const names = store.guests().map(([name]) => name);
    const shown = names.slice(0, 10).join(', ');
    const list =
      names.length === 0 ? 'there are none' : `there are ${shown}${names.length > 10 ? ', ...' : ''}`;
    throw new RpcError('NOT_FOUND', `no guest "${guest}"; ${list}`);
  }

  /** A migration that an earlier coordinator began: only the host knows of it. */
  #heldBy(guest: string, owner: string): string {
    const migration = this.#modules.registry.find(owner)?.held.get(guest)?.migration ?? '';
    return this.#modules.hasEnded(migration) ? '' : migration;
  }

  #state(guest: string, { owner, epoch, handover }: GuestRecord): GuestState {
    const { registry } = this.#modules;
    if (registry.liveness(owner) !== 'alive') return GuestState.GUEST_STATE_UNSPECIFIED;
    const held = registry.find(owner)?.held.get(guest);
    // A heartbeat older than the record: whoever was made the owner since then runs it.
    const isOlder =
      held === undefined || held.epoch < epoch || held.state === GuestState.GUEST_STATE_INCOMING;
    return isOlder && handover === undefined
      ? GuestState.GUEST_STATE_RUNNING
      : (held?.state ?? GuestState.GUEST_STATE_UNSPECIFIED);
  }

  #checkNew(spec: GuestSpec | undefined): GuestSpec {
    const { store } = this.#modules;
    if (spec === undefined) throw new RpcError('INVALID_ARGUMENT', 'create guest: no spec was sent');
    const problems = guestSpecProblems(spec);
    if (problems.length > 0) throw new RpcError('INVALID_ARGUMENT', `create guest: ${problems.join('; ')}`);
    const { name } = spec;
    if (store.guest(name) !== undefined || this.#busy.has(name)) {
      throw new RpcError('ALREADY_EXISTS', `guest "${name}" exists; take another name, or destroy it first`);
    }
    const migration = this.#modules.migrationOf(name);
    if (migration !== undefined) {
      const message = `migration ${migration} of the guest "${name}" before is not over yet; try again`;
      throw new RpcError('FAILED_PRECONDITION', message);
    }
    const away = store.tombstoneHosts(name);
    if (away.length > 0) {
      throw new RpcError(
        'FAILED_PRECONDITION',
        `guest "${name}" was destroyed while ${away.join(', ')} was away and may still run there; ` +
          'take another name, or bring that host back first',
      );
    }
    if (store.guestCount >= COORDINATOR_LIMITS.guestsMax) {
      throw new RpcError('RESOURCE_EXHAUSTED', `there are ${store.guestCount} guests; destroy some first`);
    }
    return spec;
  }

  async #createAt({ host, address }: KnownHost, spec: GuestSpec): Promise<void> {
    const { hosts, store } = this.#modules;
    try {
      await hosts.createGuest(address, spec, 1n);
    } catch (error) {
      // Without an answer it may be there, now or later: it is discarded when the host next says that it has
      // it.
      store.deleteGuest(spec.name, isUnanswered(error) ? [host] : []);
      if (error instanceof RpcError) throw new RpcError(error.code, `${error.message} (on ${host})`);
      throw new Error(`create guest "${spec.name}" on ${host}: ${errorText(error)}`, { cause: error });
    }
  }

  #atRest(guest: string, verb: string): GuestRecord {
    const record = this.#idle(guest);
    const migration = this.#modules.migrationOf(guest);
    if (migration === undefined) return record;
    throw new RpcError(
      'FAILED_PRECONDITION',
      `guest "${guest}" cannot be ${verb} while migration ${migration} moves it; wait or cancel it`,
    );
  }

  /** A guest that nobody creates or destroys now. */
  #idle(guest: string): GuestRecord {
    const record = this.record(guest);
    if (!this.#busy.has(guest)) return record;
    throw new RpcError('FAILED_PRECONDITION', `guest "${guest}" is being created or destroyed; try again`);
  }

  #ownerOf(guest: string, { owner }: GuestRecord): KnownHost {
    const { placement, watch } = this.#modules;
    const lost = watch.lostReason(guest);
    if (lost === undefined) return placement.liveHost(owner);
    throw new RpcError('FAILED_PRECONDITION', `guest "${guest}" is lost: ${lost}`);
  }

  #settled<Result>(guest: string, act: () => Promise<Result>): Promise<Result> {
    const { clock, witness } = this.#modules;
    return afterSettling(clock, witness.settledAtMs(guest), act);
  }
}
