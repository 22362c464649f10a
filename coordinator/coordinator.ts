/** The coordinator: puts its parts together, serves them, and ends them in order. */

import { serve } from '../proto/rpc.ts';
import { systemClock } from './clock.ts';
import { Drains } from './drains.ts';
import { EventLog } from './events.ts';
import { GuestWatch } from './guest-watch.ts';
import { Guests } from './guests.ts';
import { HostAdmission } from './host-admission.ts';
import { HostClients } from './host-clients.ts';
import { Migrations } from './migrations.ts';
import { Networks } from './networks.ts';
import { OwnershipStore } from './ownership-store.ts';
import { Placement } from './placement.ts';
import { Predictions } from './predictions.ts';
import { Registry } from './registry.ts';
import { coordinatorService, type ServiceModules } from './service.ts';
import { Witness } from './witness.ts';

/** How often leases, losses and unattended handovers are looked at, as a share of a lease. */
const TICKS_PER_LEASE = 10;
const TICK_MS_MAX = 1_000;

export interface CoordinatorSettings {
  /** "host:port"; port 0: any free one. */
  listen: string;
  /** A Unix socket to serve on besides, for who is in another network namespace. */
  socketPath?: string;
  /** The state file, or `:memory:`. */
  statePath: string;
  leaseMs: number;
}

export interface Coordinator {
  address: string;
  /** Ends in order; migrations that run go on between their hosts. */
  close(): Promise<void>;
}

/** @throws Error with a sentence when the state file or the address cannot be had. */
export async function startCoordinator(settings: CoordinatorSettings): Promise<Coordinator> {
  const store = new OwnershipStore(settings.statePath);
  const hosts = new HostClients();
  const parts = connectParts(store, hosts, settings.leaseMs);
  const { drains, events, migrations, registry, watch, witness } = parts;
  const server = await serve([coordinatorService(parts)], settings.listen, settings.socketPath).catch(
    (error: unknown) => {
      store.close();
      throw error;
    },
  );
  const tick = (): void => {
    registry.reportDead();
    watch.report();
    witness.resolveUnattended((guest) => migrations.migrationOf(guest) !== undefined);
    void witness.pushDecisions();
    hosts.retain(new Set(registry.hosts().map(({ address }) => address)));
  };
  const timer = setInterval(tick, Math.min(settings.leaseMs / TICKS_PER_LEASE, TICK_MS_MAX));
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    clearInterval(timer);
    witness.close();
    drains.close();
    const closed = server.close();
    // The migrations' callers wait for reports that come no more: their streams end with the migrations.
    await migrations.close();
    events.close();
    await closed;
    hosts.close();
    store.close();
  };
  return {
    address: server.address,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

function connectParts(store: OwnershipStore, hosts: HostClients, leaseMs: number): ServiceModules {
  const clock = systemClock;
  const events = new EventLog();
  const registry = new Registry({
    clock,
    events,
    leaseMs,
    formerLeaseMs: store.setLeaseMs(leaseMs),
    incarnations: store.incarnations(),
  });
  const admission = new HostAdmission({ registry, store, hostPort: hosts });
  const witness = new Witness({ store, registry, hostPort: hosts, clock, events });
  const migrationOf = (guest: string): string | undefined => migrations.migrationOf(guest);
  const watch = new GuestWatch({
    registry,
    store,
    hostPort: hosts,
    events,
    isLost: (guest) => witness.isLost(guest),
    isBusy: (guest) => guests.isBusy(guest) || migrationOf(guest) !== undefined,
  });
  const placement = new Placement({ registry, store, watch, moves: () => migrations.moves() });
  const common = { clock, events, hosts, placement, registry, store, watch, witness };
  const hasEnded = (migration: string): boolean => migrations.hasEnded(migration);
  const sourceOf = (guest: string) => migrations.sourceOf(guest);
  const progressOf = (guest: string) => migrations.progressOf(guest);
  const isArriving = (guest: string): boolean => migrations.isArriving(guest);
  const guests = new Guests({ ...common, migrationOf, sourceOf, progressOf, isArriving, hasEnded });
  const networks = new Networks({ events, hosts, placement });
  const predictions = new Predictions({ clock, hosts, networks });
  const migrations = new Migrations({ ...common, guests, predictions });
  const drains = new Drains({ ...common, guests, migrations });
  return { admission, clock, drains, events, guests, migrations, networks, registry, watch, witness };
}
