/** The host's gRPC service: each handler says in a line or two what the host does. */

import { RpcError } from '../proto/errors.ts';
import type { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import { type HostServiceServer, HostServiceService } from '../proto/generated/godwit/v1/host.ts';
import { workloadPageCount } from '../proto/guest-network.ts';
import { guestSpecProblems } from '../proto/guest-spec.ts';
import { type ServedService, streamHandler, unaryHandler } from '../proto/rpc.ts';
import { workloadProblems } from '../workloads/registry.ts';
import { nowMs } from './clock.ts';
import type { DirtyRateProbes } from './dirty-rate-probes.ts';
import { Guest } from './guest/guest.ts';
import type { GuestNics } from './guest-nics.ts';
import type { GuestTable, HeldEntry } from './guest-table.ts';
import type { HandoverDesk } from './handover-desk.ts';
import type { HostNetwork } from './host-network.ts';
import type { HostStatistics } from './host-stats.ts';
import type { IncomingMoves } from './incoming-moves.ts';
import type { LinkProbes } from './link-probes.ts';
import type { IncomingMigration } from './migration/incoming.ts';
import type { OutgoingMigration } from './migration/outgoing.ts';
import { outgoingEvents } from './outgoing-events.ts';
import type { OutgoingMoves } from './outgoing-moves.ts';

export interface HostParts {
  readonly table: GuestTable;
  readonly desk: HandoverDesk;
  readonly outgoing: OutgoingMoves;
  readonly incoming: IncomingMoves;
  readonly statistics: HostStatistics;
  readonly network: HostNetwork;
  readonly probes: LinkProbes;
  readonly dirtyRates: DirtyRateProbes;
  readonly nics: GuestNics;
}

export function hostService(parts: HostParts): ServedService {
  const handlers: HostServiceServer = {
    ...guestHandlers(parts),
    ...migrationHandlers(parts),
    ...networkHandlers(parts),
  };
  return { definition: HostServiceService, handlers };
}

type GuestHandlers = Pick<
  HostServiceServer,
  | 'createGuest'
  | 'destroyGuest'
  | 'pauseGuest'
  | 'resumeGuest'
  | 'getGuestStats'
  | 'auditGuest'
  | 'measureDirtyRate'
  | 'getHostStats'
>;

function guestHandlers({ table, statistics, nics, dirtyRates }: HostParts): GuestHandlers {
  return {
    createGuest: unaryHandler(async ({ spec, epoch }) => {
      const checked = checkedSpec(spec);
      const make = async (): Promise<Guest> => Guest.create(checked, await nics.settings(checked, epoch));
      await table.add(checked, 'owned', epoch, make);
      return {};
    }),
    destroyGuest: unaryHandler(async ({ guest }) => {
      await table.remove(atRest(table.get(guest), 'destroyed'));
      return {};
    }),
    pauseGuest: unaryHandler(async ({ guest }) => {
      await atRest(table.get(guest), 'paused').guest.pause();
      return {};
    }),
    resumeGuest: unaryHandler(async ({ guest }) => {
      await atRest(table.get(guest), 'resumed').guest.resume();
      return {};
    }),
    getGuestStats: unaryHandler(({ guest, sinceMs }) => ({
      series: table.get(guest).guest.series.since(sinceMs),
      nowMs: nowMs(),
    })),
    auditGuest: unaryHandler(async ({ guest }) => ({
      report: await whole(atRest(table.get(guest), 'audited')).guest.audit(),
    })),
    measureDirtyRate: unaryHandler(async ({ guest, options }, { signal }) => ({
      report: await dirtyRates.measure(table.get(guest), options, signal),
    })),
    getHostStats: unaryHandler(() => ({ stats: statistics.take() })),
  };
}

type MigrationHandlers = Pick<
  HostServiceServer,
  | 'startMigration'
  | 'prepareIncoming'
  | 'getIncoming'
  | 'cancelMigration'
  | 'switchMigration'
  | 'recoverMigration'
  | 'getArrival'
  | 'releaseFailpoint'
  | 'queryHandover'
>;

function migrationHandlers({ desk, outgoing, incoming }: HostParts): MigrationHandlers {
  const side = (migration: string) =>
    here<OutgoingMigration | IncomingMigration>(
      outgoing.find(migration) ?? incoming.find(migration),
      migration,
    );
  return {
    startMigration: streamHandler((request) => outgoingEvents(outgoing, request)),
    prepareIncoming: unaryHandler(async (request) => {
      await incoming.prepare(request);
      return {};
    }),
    getIncoming: unaryHandler(({ migration }) => incoming.result(migration)),
    cancelMigration: unaryHandler(({ migration, reason, guestGone }) => {
      if (guestGone === true && outgoing.find(migration)?.guestGone(reason) === true) return {};
      if (side(migration).cancel(reason) !== false) return {};
      throw new RpcError(
        'FAILED_PRECONDITION',
        `migration "${migration}" is past its commit point: the guest is already the destination's`,
      );
    }),
    switchMigration: unaryHandler(({ migration }) => {
      here(outgoing.find(migration), migration).switchToPostCopy();
      return {};
    }),
    recoverMigration: unaryHandler(async ({ migration }) => {
      await here(incoming.find(migration), migration).recover();
      return {};
    }),
    getArrival: unaryHandler(({ migration }) => ({
      arrival: here(incoming.find(migration), migration).arrival(),
    })),
    releaseFailpoint: unaryHandler(({ migration }) => {
      side(migration).releaseFailpoint();
      return {};
    }),
    queryHandover: unaryHandler(async ({ migration, guest, decidedOwner }) => {
      if (decidedOwner !== '') await desk.decided(migration, guest, decidedOwner);
      return {
        standing: desk.standing(migration),
        failpoint: incoming.find(migration)?.failpoint ?? '',
      };
    }),
  };
}

function here<Side>(side: Side | undefined, migration: string): Side {
  if (side !== undefined) return side;
  throw new RpcError('NOT_FOUND', `no migration "${migration}" runs on this host`);
}

type NetworkHandlers = Pick<
  HostServiceServer,
  'setNetwork' | 'getNetwork' | 'setLinkFault' | 'serveProbe' | 'probeLink' | 'sendTraffic'
>;

function networkHandlers({ network, probes }: HostParts): NetworkHandlers {
  return {
    setNetwork: unaryHandler(async ({ shape, faults, peerAddresses }) => {
      await network.setShape(shape, faults, peerAddresses);
      return {};
    }),
    getNetwork: unaryHandler(() => ({ shape: network.shape, fault: network.fault })),
    setLinkFault: unaryHandler(async ({ fault }) => {
      if (fault === undefined)
        throw new RpcError('INVALID_ARGUMENT', 'setting a fault: the request has none');
      await network.setFault(fault);
      return {};
    }),
    serveProbe: streamHandler((request, { signal }) => probes.serve(request, signal)),
    probeLink: unaryHandler((request) => probes.run(request)),
    sendTraffic: streamHandler((request, { signal }) => probes.traffic(request, signal)),
  };
}

function checkedSpec(spec: GuestSpec | undefined): GuestSpec {
  if (spec === undefined) throw new RpcError('INVALID_ARGUMENT', 'creating a guest: the request has no spec');
  const problems = guestSpecProblems(spec);
  if (problems.length === 0) {
    problems.push(...workloadProblems(spec.workload!, workloadPageCount(spec)));
  }
  if (problems.length > 0) throw new RpcError('INVALID_ARGUMENT', `creating a guest: ${problems.join('; ')}`);
  return spec;
}

/** A guest all of whose pages are here. */
function whole(entry: HeldEntry): HeldEntry {
  const { missingPages } = entry.guest.control;
  if (missingPages === 0) return entry;
  throw new RpcError(
    'FAILED_PRECONDITION',
    `guest "${entry.spec.name}" cannot be audited now: ${missingPages} of its pages are still at ${entry.pagesAt}; ` +
      'wait until they have come',
  );
}

/** A guest that no migration has in its hands. */
function atRest(entry: HeldEntry, verb: string): HeldEntry {
  if (entry.migration === undefined && entry.tenure === 'owned') return entry;
  throw new RpcError(
    'FAILED_PRECONDITION',
    `guest "${entry.spec.name}" cannot be ${verb} now: migration "${entry.migration}" has it (${entry.tenure}); ` +
      'wait for its end or cancel it',
  );
}
