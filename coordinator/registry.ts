/**
 * The hosts that the coordinator knows, and their leases. A host counts its lease from when it sent a
 * heartbeat, the coordinator from when it received it and a tenth more, so the host's ends first. After the
 * coordinator's start nobody is called dead for one whole lease: an earlier coordinator may have given one
 * just before.
 */

import { RpcError } from '../proto/errors.ts';
import type {
  CoordinatorServiceHeartbeatRequest,
  CoordinatorServiceRegisterHostRequest,
  HeldGuest,
} from '../proto/generated/godwit/v1/coordinator.ts';
import type { HostStats } from '../proto/generated/godwit/v1/host.ts';
import type { Clock } from './clock.ts';
import type { EventLog } from './events.ts';
import { COORDINATOR_LIMITS } from './limits.ts';

/** How much longer than the lease the coordinator waits: a host needs a moment to stop its vCPUs. */
const LEASE_MARGIN = 1.1;

/** `unknown`: it has not registered since the coordinator's start, but may have a lease from before. */
export type Liveness = 'alive' | 'dead' | 'unknown';

/** A host that has registered since the coordinator's start. */
export interface KnownHost {
  readonly host: string;
  readonly address: string;
  readonly incarnation: string;
  readonly capacityBytes: number;
  readonly seenAtMs: number;
  readonly leaseEndsAtMs: number;
  readonly stats: HostStats | undefined;
  readonly held: ReadonlyMap<string, HeldGuest>;
  /** It takes no guests. */
  readonly isDraining: boolean;
}

export interface RegistryModules {
  clock: Pick<Clock, 'nowMs'>;
  events: Pick<EventLog, 'emit'>;
  leaseMs: number;
  /** The longest lease that an earlier coordinator may have given. */
  formerLeaseMs: number;
  /** The last process of each host's name, from an earlier coordinator. */
  incarnations: ReadonlyMap<string, string>;
}

export class Registry {
  readonly leaseMs: number;
  readonly #modules: RegistryModules;
  readonly #trustsDeathsFromMs: number;
  readonly #hosts = new Map<string, KnownHost>();
  readonly #reportedDead = new Set<string>();

  constructor(modules: RegistryModules) {
    this.leaseMs = modules.leaseMs;
    this.#modules = modules;
    this.#trustsDeathsFromMs = modules.clock.nowMs() + modules.formerLeaseMs * LEASE_MARGIN;
  }

  find(host: string): KnownHost | undefined {
    return this.#hosts.get(host);
  }

  hosts(): KnownHost[] {
    return [...this.#hosts.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  liveness(host: string): Liveness {
    const nowMs = this.#modules.clock.nowMs();
    const known = this.#hosts.get(host);
    if (known === undefined) return nowMs < this.#trustsDeathsFromMs ? 'unknown' : 'dead';
    return nowMs < known.leaseEndsAtMs ? 'alive' : 'dead';
  }

  /** Why a host is not alive, for people. */
  absence(host: string): string {
    const known = this.#hosts.get(host);
    if (known === undefined) return `host ${host} has not registered since the coordinator started`;
    const seconds = ((this.#modules.clock.nowMs() - known.seenAtMs) / 1000).toFixed(1);
    return `host ${host} is dead: its lease has ended, it was last seen ${seconds} s ago`;
  }

  /** @throws RpcError when another process may still live under this name, or there are too many hosts. */
  refuseTaken(host: string, incarnation: string): void {
    const known = this.#hosts.get(host);
    const nowMs = this.#modules.clock.nowMs();
    if (known === undefined && this.#hosts.size >= COORDINATOR_LIMITS.hostsMax) {
      const message = `${this.#hosts.size} hosts have registered, which is the most; start a new coordinator`;
      throw new RpcError('RESOURCE_EXHAUSTED', message);
    }
    const former = known?.incarnation ?? this.#modules.incarnations.get(host) ?? incarnation;
    if (former === incarnation) return;
    const leaseEndsAtMs = known?.leaseEndsAtMs ?? this.#trustsDeathsFromMs;
    if (nowMs >= leaseEndsAtMs) return;
    const waitMs = Math.ceil(leaseEndsAtMs - nowMs);
    if (known === undefined) {
      // Nobody's fault: it may try again until then.
      throw new RpcError(
        'UNAVAILABLE',
        `another process had the host name "${host}" and may have a lease for ${waitMs} ms; try again`,
      );
    }
    throw new RpcError(
      'ALREADY_EXISTS',
      `host name "${host}" is taken by a live host at ${known.address}; take another name, or end that ` +
        `host and wait until its lease has ended, ${waitMs} ms from now at the earliest`,
    );
  }

  /** Begins a lease. The caller has told the host all that it must know first (host-admission.ts). */
  grant(request: CoordinatorServiceRegisterHostRequest): void {
    const { host, address, incarnation } = request;
    const nowMs = this.#modules.clock.nowMs();
    const former = this.#hosts.get(host);
    this.#hosts.set(host, {
      host,
      address,
      incarnation,
      capacityBytes: Number(request.capacityBytes),
      seenAtMs: nowMs,
      leaseEndsAtMs: nowMs + this.leaseMs * LEASE_MARGIN,
      stats: former?.incarnation === incarnation ? former.stats : undefined,
      held: heldByName(request.guests),
      // A process that has taken over the name was started to be used.
      isDraining: former?.incarnation === incarnation && former.isDraining,
    });
    this.#reportedDead.delete(host);
    this.#modules.events.emit('host-registered', host, `at ${address}, ${request.guests.length} guests`);
  }

  /** Renews a lease; false when there is none to renew, and the host has to register again. */
  renew(request: CoordinatorServiceHeartbeatRequest): boolean {
    const known = this.#hosts.get(request.host);
    if (known?.incarnation !== request.incarnation || this.liveness(request.host) !== 'alive') return false;
    const nowMs = this.#modules.clock.nowMs();
    this.#hosts.set(request.host, {
      ...known,
      seenAtMs: nowMs,
      leaseEndsAtMs: nowMs + this.leaseMs * LEASE_MARGIN,
      stats: request.stats ?? known.stats,
      held: heldByName(request.guests),
    });
    return true;
  }

  /** Whether a host takes guests, from now on; without effect on one that is not known. */
  setDraining(host: string, isDraining: boolean): void {
    const known = this.#hosts.get(host);
    if (known === undefined || known.isDraining === isDraining) return;
    this.#hosts.set(host, { ...known, isDraining });
    if (isDraining) this.#modules.events.emit('host-draining', host, 'it takes no guests');
    else this.#modules.events.emit('host-undrained', host, 'it takes guests again');
  }

  /** Emits host-lost once for each host whose lease has ended. */
  reportDead(): void {
    for (const { host } of this.#hosts.values()) {
      if (this.#reportedDead.has(host) || this.liveness(host) !== 'dead') continue;
      this.#reportedDead.add(host);
      this.#modules.events.emit('host-lost', host, this.absence(host));
    }
  }
}

function heldByName(guests: readonly HeldGuest[]): Map<string, HeldGuest> {
  return new Map(guests.map((held) => [held.guest, held]));
}
