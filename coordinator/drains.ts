/**
 * Empties hosts: one that is drained takes no guests, and those that it has are moved away, a few at a time. The
 * flag is the registry's; what is left to be moved is read from the record again after each move, so that a
 * guest that was on its way to the host is moved on as well.
 */

import { errorText } from '../proto/errors.ts';
import type { CoordinatorServiceDrainHostResponse } from '../proto/generated/godwit/v1/coordinator.ts';
import { defaultMigrationOptions } from '../proto/migration-options.ts';
import type { Clock } from './clock.ts';
import type { GuestWatch } from './guest-watch.ts';
import type { Guests } from './guests.ts';
import { COORDINATOR_LIMITS } from './limits.ts';
import type { Migrations } from './migrations.ts';
import type { OwnershipStore } from './ownership-store.ts';
import type { Placement } from './placement.ts';
import type { Registry } from './registry.ts';

/** Between two looks at a guest that is being created, destroyed or moved. */
const POLL_MS = 100;

export interface DrainsModules {
  clock: Clock;
  guests: Guests;
  migrations: Migrations;
  placement: Placement;
  registry: Registry;
  store: OwnershipStore;
  watch: GuestWatch;
}

export class Drains {
  readonly #modules: DrainsModules;
  readonly #closing = new AbortController();

  constructor(modules: DrainsModules) {
    this.#modules = modules;
  }

  /**
   * Drains a host; tells of each guest when its fate is known. Each is tried once.
   * @param gone nobody waits any more: the moves that run go on, and no other begins
   * @throws RpcError NOT_FOUND, or FAILED_PRECONDITION when the host is dead
   */
  async *drain(host: string, gone: AbortSignal): AsyncGenerator<CoordinatorServiceDrainHostResponse> {
    const { placement, registry } = this.#modules;
    placement.liveHost(host);
    registry.setDraining(host, true);
    const signal = AbortSignal.any([gone, this.#closing.signal]);
    const tried = new Set<string>();
    const running = new Map<string, Promise<CoordinatorServiceDrainHostResponse>>();
    for (;;) {
      while (running.size < COORDINATOR_LIMITS.drainMovesMax && !signal.aborted) {
        const left = this.#guestsAt(host).filter((name) => !tried.has(name));
        // One that has to be waited for does not hold up the others.
        const guest = left.find((name) => !this.#isBusy(name)) ?? left[0];
        if (guest === undefined) break;
        tried.add(guest);
        running.set(guest, this.#moveAway(host, guest, signal));
      }
      if (running.size === 0) return;
      const fate = await Promise.race(running.values());
      running.delete(fate.guest);
      yield fate;
    }
  }

  /** @throws RpcError NOT_FOUND, or FAILED_PRECONDITION when the host is dead. */
  undrain(host: string): void {
    const { placement, registry } = this.#modules;
    registry.setDraining(placement.liveHost(host).host, false);
  }

  /** Begins no further move. */
  close(): void {
    this.#closing.abort();
  }

  /** The guests that are at a host or on their way to it, while it is being drained. */
  #guestsAt(host: string): string[] {
    const { migrations, registry, store, watch } = this.#modules;
    if (registry.find(host)?.isDraining !== true) return [];
    const arriving = [...migrations.moves()].filter(({ destination }) => destination === host);
    const owned = store
      .guests()
      .filter(([, { owner, handover }]) => [owner, handover?.destination].includes(host));
    const names = new Set([...owned.map(([name]) => name), ...arriving.map(({ guest }) => guest)]);
    return [...names].filter((name) => watch.lostReason(name) === undefined);
  }

  /** Never rejects: why a guest could not be moved is part of the answer. */
  async #moveAway(
    host: string,
    guest: string,
    signal: AbortSignal,
  ): Promise<CoordinatorServiceDrainHostResponse> {
    const { migrations, store } = this.#modules;
    try {
      await this.#atRest(host, guest, signal);
      // Whoever had it in hand may have moved it away, or ended it.
      const owner = store.guest(guest)?.owner ?? '';
      if (owner !== host) return { guest, host: owner, reason: '' };
      const options = defaultMigrationOptions('pre-copy');
      const report = await migrations.start({ guest, destination: '', options }).ended;
      const isMoved = report.owner !== '' && report.owner !== host;
      const reason = isMoved ? '' : report.reason || `migration ${report.migration} failed`;
      return { guest, host: report.owner, reason };
    } catch (error) {
      return { guest, host, reason: errorText(error) };
    }
  }

  /** Waits until a guest may be moved away; throws when it is not to be any more. */
  async #atRest(host: string, guest: string, signal: AbortSignal): Promise<void> {
    const { clock, registry } = this.#modules;
    while (this.#isBusy(guest) && !signal.aborted) await clock.sleep(POLL_MS, signal);
    if (signal.aborted) throw new Error('nobody waits for it any more');
    if (registry.find(host)?.isDraining !== true) throw new Error(`the draining of ${host} was undone`);
  }

  /** Whether somebody creates, destroys or moves a guest. */
  #isBusy(guest: string): boolean {
    const { guests, migrations, store } = this.#modules;
    const isMoving =
      migrations.migrationOf(guest) !== undefined || store.guest(guest)?.handover !== undefined;
    return isMoving || guests.isBusy(guest);
  }
}
