/**
 * Which host has room for a guest: what the coordinator has promised of each host's memory, and the checks on
 * it.
 */

import { RpcError } from '../proto/errors.ts';
import type { GuestWatch } from './guest-watch.ts';
import type { OwnershipStore } from './ownership-store.ts';
import type { KnownHost, Registry } from './registry.ts';

export interface PlacementModules {
  registry: Registry;
  store: OwnershipStore;
  watch: Pick<GuestWatch, 'lostReason'>;
  /** Where the running migrations lead. */
  moves: () => Iterable<{ guest: string; destination: string }>;
}

export class Placement {
  readonly #modules: PlacementModules;

  constructor(modules: PlacementModules) {
    this.#modules = modules;
  }

  /**
   * The live host of this name.
   * @throws RpcError NOT_FOUND when there is none, FAILED_PRECONDITION when it is dead.
   */
  liveHost(host: string): KnownHost {
    const { registry } = this.#modules;
    const known = registry.find(host);
    if (known === undefined) {
      const names = registry.hosts().map((entry) => entry.host);
      const list = names.length === 0 ? 'none has registered' : `there are ${names.join(', ')}`;
      throw new RpcError('NOT_FOUND', `no host "${host}"; ${list}`);
    }
    if (registry.liveness(host) === 'alive') return known;
    throw new RpcError('FAILED_PRECONDITION', `${registry.absence(host)}; start it again, or take another`);
  }

  /**
   * The host of this name, with room; or, when the name is empty, the live host with the most room. Never one that
   * is being drained.
   * @throws RpcError NOT_FOUND, FAILED_PRECONDITION (dead, draining) or RESOURCE_EXHAUSTED (no room).
   */
  choose(host: string, guest: string, memoryBytes: number, except?: string): KnownHost {
    const chosen = host === '' ? this.#roomiest(guest, except) : this.#takingHost(host);
    const freeBytes = this.freeBytes(chosen, guest);
    if (freeBytes >= memoryBytes) return chosen;
    throw new RpcError(
      'RESOURCE_EXHAUSTED',
      `no room for guest "${guest}": it needs ${inMebibytes(memoryBytes)}, and ${chosen.host} has ` +
        `${inMebibytes(Math.max(freeBytes, 0))} free of ${inMebibytes(chosen.capacityBytes)}; ` +
        'take another host, make room there, or start hosts with more memory',
    );
  }

  /** What a host has left, besides what it may hold of `guest` already. */
  freeBytes({ host, capacityBytes }: KnownHost, guest = ''): number {
    const { store, watch, moves } = this.#modules;
    const promised = new Set<string>();
    for (const { guest: moving, destination } of moves()) if (destination === host) promised.add(moving);
    for (const [name, { owner, handover }] of store.guests()) {
      if (owner !== host && handover?.destination !== host) continue;
      if (watch.lostReason(name) === undefined) promised.add(name);
    }
    promised.delete(guest);
    let freeBytes = capacityBytes;
    for (const name of promised) freeBytes -= Number(store.guest(name)?.spec.memoryBytes ?? 0);
    return freeBytes;
  }

  #takingHost(host: string): KnownHost {
    const known = this.liveHost(host);
    if (!known.isDraining) return known;
    throw new RpcError(
      'FAILED_PRECONDITION',
      `${host} is being drained and takes no guests; take another host, or \`godwit drain ${host} --undo\``,
    );
  }

  #roomiest(guest: string, except: string | undefined): KnownHost {
    const { registry } = this.#modules;
    const live = registry
      .hosts()
      .filter(({ host }) => host !== except && registry.liveness(host) === 'alive');
    const [first, ...others] = live.filter(({ isDraining }) => !isDraining);
    if (first === undefined) {
      const other = except === undefined ? '' : ` other than ${except}`;
      const found =
        live.length === 0
          ? `no live host${other}`
          : `no live host${other} takes guests: ${live.map(({ host }) => host).join(', ')} ` +
            `${live.length === 1 ? 'is' : 'are'} being drained`;
      throw new RpcError('FAILED_PRECONDITION', `${found}; start one, or wait until it registers`);
    }
    return others.reduce(
      (best, host) => (this.freeBytes(host, guest) > this.freeBytes(best, guest) ? host : best),
      first,
    );
  }
}

function inMebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1).replace(/\.0$/, '')} MiB`;
}
