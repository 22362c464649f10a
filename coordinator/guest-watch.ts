/**
 * Compares what hosts say that they hold with the record: finds guests that are lost, finds them again, and
 * clears away copies that belong to nobody. Whether a guest is lost is derived, never recorded: it is found
 * again with its host.
 */

import type {
  CoordinatorServiceRegisterHostRequest,
  HeldGuest,
} from '../proto/generated/godwit/v1/coordinator.ts';
import { GuestState } from '../proto/generated/godwit/v1/guest.ts';
import { guestSpecProblems } from '../proto/guest-spec.ts';
import type { EventLog } from './events.ts';
import type { HostPort } from './host-port.ts';
import { COORDINATOR_LIMITS } from './limits.ts';
import type { GuestRecord, OwnershipStore } from './ownership-store.ts';
import { judgeHeld } from './reconcile.ts';
import type { Registry } from './registry.ts';

/**
 * A heartbeat may have been on its way when the record changed; the next one was sent after it. So what a
 * host says counts when it has said it twice.
 */
const SIGHTINGS = 2;

export interface GuestWatchModules {
  registry: Registry;
  store: OwnershipStore;
  hostPort: HostPort;
  events: Pick<EventLog, 'emit'>;
  /** Whether the witness found that nobody has all of a guest whose handover is open. */
  isLost: (guest: string) => boolean;
  /**
   * Whether a guest is being created, destroyed or moved: its host may be ahead of the record or behind it.
   */
  isBusy: (guest: string) => boolean;
}

export class GuestWatch {
  readonly #modules: GuestWatchModules;
  /** How often in a row a host did not hold a guest that it should, by `host guest`. */
  readonly #missing = new Map<string, number>();
  /** How often in a row a host held a guest that another host owns, by `host guest`. */
  readonly #strays = new Map<string, number>();
  readonly #reportedLost = new Set<string>();
  /** The guests that failed, by the host that said so last. */
  readonly #failed = new Map<string, ReadonlySet<string>>();

  constructor(modules: GuestWatchModules) {
    this.#modules = modules;
  }

  /** A host has registered: what it does not hold now, a new process will not find later. */
  registered(request: CoordinatorServiceRegisterHostRequest, isNewProcess: boolean): void {
    this.#adoptFrom(request);
    this.heard(request.host, isNewProcess ? SIGHTINGS : 1);
  }

  /** A host has said what it holds. */
  heard(host: string, sightings = 1): void {
    const { registry, store, isBusy } = this.#modules;
    const held: ReadonlyMap<string, HeldGuest> = registry.find(host)?.held ?? new Map();
    for (const [guest, record] of store.guests()) {
      const key = `${host} ${guest}`;
      const isWanted = candidates(record).includes(host) && !held.has(guest) && !isBusy(guest);
      if (isWanted) this.#missing.set(key, (this.#missing.get(key) ?? 0) + sightings);
      else this.#missing.delete(key);
    }
    this.#reportFailed(host, held);
    this.#discardStrays(host);
  }

  /** Why a guest is lost, or undefined while somebody has it or may have it. */
  lostReason(guest: string): string | undefined {
    const record = this.#modules.store.guest(guest);
    if (record === undefined) return undefined;
    const isLost = this.#modules.isLost(guest);
    const reasons = candidates(record).map(
      (host) => this.#absence(host, guest) ?? (isLost ? `host ${host} does not have all of it` : undefined),
    );
    return reasons.includes(undefined) ? undefined : reasons.join('; ');
  }

  /** Emits guest-lost and guest-found once for each change. */
  report(): void {
    const { store, events } = this.#modules;
    for (const [guest, record] of store.guests()) {
      const reason = this.lostReason(guest);
      if (reason !== undefined && !this.#reportedLost.has(guest)) {
        this.#reportedLost.add(guest);
        events.emit('guest-lost', guest, reason);
      } else if (reason === undefined && this.#reportedLost.delete(guest)) {
        events.emit('guest-found', guest, `on ${record.owner}`);
      }
    }
    for (const guest of this.#reportedLost) {
      if (store.guest(guest) === undefined) this.#reportedLost.delete(guest);
    }
  }

  /** Emits guest-failed once for each guest that can run no more. */
  #reportFailed(host: string, held: ReadonlyMap<string, HeldGuest>): void {
    const before = this.#failed.get(host);
    const failed = [...held.values()].filter(({ state }) => state === GuestState.GUEST_STATE_FAILED);
    for (const { guest, failure } of failed) {
      if (before?.has(guest) !== true)
        this.#modules.events.emit('guest-failed', guest, `on ${host}: ${failure}`);
    }
    this.#failed.set(host, new Set(failed.map(({ guest }) => guest)));
  }

  #absence(host: string, guest: string): string | undefined {
    const { registry } = this.#modules;
    switch (registry.liveness(host)) {
      case 'unknown':
        return undefined;
      case 'dead':
        return registry.absence(host);
      case 'alive': {
        const isMissing = (this.#missing.get(`${host} ${guest}`) ?? 0) >= SIGHTINGS;
        return isMissing ? `host ${host} lives, but has come back without it` : undefined;
      }
    }
  }

  #adoptFrom({ host, guests }: CoordinatorServiceRegisterHostRequest): void {
    const { store, events } = this.#modules;
    for (const held of guests) {
      const { guest, spec, epoch } = held;
      const tombstoned = store.isTombstoned(guest, host);
      if (judgeHeld({ host, held, record: store.guest(guest), tombstoned }) !== 'adopt') continue;
      const isGood = spec?.name === guest && guestSpecProblems(spec).length === 0;
      if (!isGood || store.guestCount >= COORDINATOR_LIMITS.guestsMax) continue;
      store.createGuest(spec, host, epoch);
      events.emit('guest-adopted', guest, `${host} runs it at epoch ${epoch}, and nobody had it on record`);
    }
  }

  #discardStrays(host: string): void {
    const { registry, store, isBusy } = this.#modules;
    const known = registry.find(host);
    if (known === undefined) return;
    for (const [guest, held] of known.held) {
      const key = `${host} ${guest}`;
      const tombstoned = store.isTombstoned(guest, host);
      const isStray = judgeHeld({ host, held, record: store.guest(guest), tombstoned }) === 'discard';
      if (!isStray || isBusy(guest)) {
        this.#strays.delete(key);
        continue;
      }
      const sightings = (this.#strays.get(key) ?? 0) + 1;
      this.#strays.set(key, sightings);
      if (sightings >= SIGHTINGS) void this.#discard(host, known.address, guest);
    }
  }

  async #discard(host: string, address: string, guest: string): Promise<void> {
    const { hostPort, store, events } = this.#modules;
    try {
      await hostPort.destroyGuest(address, guest);
    } catch {
      // The host is silent or still has it in its hands: the next heartbeat brings us here again.
      return;
    }
    store.removeTombstone(guest, host);
    events.emit('guest-discarded', guest, `${host} had a copy that was not its own any more`);
  }
}

/** The hosts of which one has the guest. */
export function candidates({ owner, handover }: GuestRecord): string[] {
  return handover === undefined ? [owner] : [owner, handover.destination];
}
