/** The coordinator's gRPC service: each handler only brings the request to who answers it. */

import {
  type CoordinatorServiceMigrateRequest,
  type CoordinatorServiceMigrateResponse,
  type CoordinatorServiceRegisterHostRequest,
  type CoordinatorServiceServer,
  CoordinatorServiceService,
  type CoordinatorServiceWatchEventsResponse,
  type HostEntry,
} from '../proto/generated/godwit/v1/coordinator.ts';
import { type ServedService, streamHandler, unaryHandler } from '../proto/rpc.ts';
import type { Clock } from './clock.ts';
import type { Drains } from './drains.ts';
import type { EventLog } from './events.ts';
import type { GuestWatch } from './guest-watch.ts';
import type { Guests } from './guests.ts';
import type { HostAdmission } from './host-admission.ts';
import type { Migrations } from './migrations.ts';
import type { Networks } from './networks.ts';
import type { Registry } from './registry.ts';
import type { Witness } from './witness.ts';

export interface ServiceModules {
  admission: HostAdmission;
  clock: Clock;
  drains: Drains;
  events: EventLog;
  guests: Guests;
  migrations: Migrations;
  networks: Networks;
  registry: Registry;
  watch: GuestWatch;
  witness: Witness;
}

export function coordinatorService(modules: ServiceModules): ServedService {
  const handlers: CoordinatorServiceServer = { ...handlersForHosts(modules), ...handlersForPeople(modules) };
  return { definition: CoordinatorServiceService, handlers };
}

type ForHosts = 'registerHost' | 'heartbeat' | 'beginHandover' | 'settleHandover' | 'resolveHandover';

function handlersForHosts(modules: ServiceModules): Pick<CoordinatorServiceServer, ForHosts> {
  const { admission, registry, watch, witness } = modules;
  return {
    registerHost: unaryHandler(async (request: CoordinatorServiceRegisterHostRequest) => {
      const former = registry.find(request.host)?.incarnation;
      const leaseMs = await admission.register(request);
      watch.registered(request, former !== undefined && former !== request.incarnation);
      return { leaseMs };
    }),
    heartbeat: unaryHandler((request) => {
      const registerAgain = !admission.heartbeat(request);
      if (!registerAgain) watch.heard(request.host);
      return { leaseMs: registerAgain ? 0 : registry.leaseMs, registerAgain };
    }),
    beginHandover: unaryHandler((request) => {
      witness.beginHandover(request, request.source, request.destination);
      return {};
    }),
    settleHandover: unaryHandler((request) => witness.settleHandover(request, request.owner)),
    resolveHandover: unaryHandler((request) => witness.resolveHandover(request)),
  };
}

type ForPeople = Exclude<keyof typeof CoordinatorServiceService, ForHosts>;

function handlersForPeople(modules: ServiceModules): Pick<CoordinatorServiceServer, ForPeople> {
  const { drains, events, guests, migrations, networks } = modules;
  return {
    createGuest: unaryHandler(async ({ spec, host }) => ({ host: await guests.create(spec, host) })),
    destroyGuest: unaryHandler(async ({ guest }) => {
      await guests.destroy(guest);
      return {};
    }),
    listHosts: unaryHandler(() => ({ hosts: hostEntries(modules) })),
    drainHost: streamHandler(({ host }, { signal }) => drains.drain(host, signal)),
    undrainHost: unaryHandler(({ host }) => {
      drains.undrain(host);
      return {};
    }),
    listGuests: unaryHandler(() => ({ guests: guests.list() })),
    getGuestStats: unaryHandler(({ guest, sinceMs }) => guests.stats(guest, sinceMs)),
    auditGuest: unaryHandler(async ({ guest }) => ({ report: await guests.audit(guest) })),
    measureDirtyRate: unaryHandler(async ({ guest, options }, { signal }) => ({
      report: await guests.measureDirtyRate(guest, options, signal),
    })),
    migrate: streamHandler((request, { signal }) => migrate(migrations, request, signal)),
    predictMigration: unaryHandler((request, { signal }) => migrations.predict(request, signal)),
    cancelMigration: unaryHandler(async ({ target }) => {
      await migrations.cancel(target);
      return {};
    }),
    switchMigration: unaryHandler(async ({ target }) => {
      await migrations.switchToPostCopy(target);
      return {};
    }),
    recoverMigration: unaryHandler(async ({ target }) => {
      await migrations.recover(target);
      return {};
    }),
    releaseFailpoint: unaryHandler(async ({ migration }) => {
      await migrations.releaseFailpoint(migration);
      return {};
    }),
    setNetwork: unaryHandler(async (request) => {
      await networks.setShape(request);
      return {};
    }),
    getNetwork: unaryHandler(({ host }) => networks.getShape(host)),
    setLinkFault: unaryHandler(async (request) => {
      await networks.setFault(request);
      return {};
    }),
    probeLink: unaryHandler((request) => networks.probe(request)),
    sendTraffic: streamHandler((request, { signal }) => networks.traffic(request, signal)),
    watchEvents: streamHandler((_request, { signal }) => watchEvents(events, signal)),
  };
}

function hostEntries({ clock, registry }: ServiceModules): HostEntry[] {
  return registry.hosts().map(({ host, address, seenAtMs, stats, held, isDraining }) => ({
    host,
    address,
    alive: registry.liveness(host) === 'alive',
    lastSeenMsAgo: clock.nowMs() - seenAtMs,
    stats,
    guests: [...held.values()],
    draining: isDraining,
  }));
}

async function* migrate(
  migrations: Migrations,
  request: CoordinatorServiceMigrateRequest,
  signal: AbortSignal,
): AsyncGenerator<CoordinatorServiceMigrateResponse, void, undefined> {
  const migration = migrations.start(request);
  const progress = migration.follow();
  const leave = (): void => migration.unfollow(progress);
  signal.addEventListener('abort', leave);
  try {
    for await (const value of progress) yield { event: { $case: 'progress', value } };
  } finally {
    leave();
  }
  if (!signal.aborted) yield { event: { $case: 'report', value: await migration.ended } };
}

async function* watchEvents(
  events: EventLog,
  signal: AbortSignal,
): AsyncGenerator<CoordinatorServiceWatchEventsResponse, void, undefined> {
  for await (const event of events.watch(signal)) yield { event };
}
