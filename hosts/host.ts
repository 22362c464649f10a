/** One emulated physical host: puts its parts together, and ends them in order. */

import { randomUUID } from 'node:crypto';
import { serve } from '../proto/rpc.ts';
import { CoordinatorLink } from './coordinator-link.ts';
import { DirtyRateProbes } from './dirty-rate-probes.ts';
import { drainHost, type LeftGuest } from './drain.ts';
import { Gangs } from './gangs.ts';
import { returnStartMemory } from './guest/memory-return.ts';
import { removeStaleAddresses } from './guest-nic/guest-address.ts';
import { GuestNics } from './guest-nics.ts';
import { GuestTable } from './guest-table.ts';
import { HandoverDesk } from './handover-desk.ts';
import { HostContents } from './host-contents.ts';
import { HostNetwork, type NetworkBackend } from './host-network.ts';
import { HostStatistics } from './host-stats.ts';
import { IncomingMoves } from './incoming-moves.ts';
import { Lease } from './lease.ts';
import { LinkProbes } from './link-probes.ts';
import { OutgoingMoves } from './outgoing-moves.ts';
import { ReadyThreads } from './ready-threads.ts';
import { hostService } from './service.ts';

export interface HostSettings {
  readonly name: string;
  /** The coordinator's "address:port". */
  readonly coordinator: string;
  /** How much memory its guests may have together. */
  readonly capacityBytes: number;
  /** Where its service listens, "address:port"; port 0 takes a free one. */
  readonly listen: string;
  /** The address at which its migrations' data ports listen. */
  readonly dataListen: string;
  /** The name or address under which others reach this host, when it is not the one that it listens on. */
  readonly advertise?: string;
  /**
   * Who shapes its traffic, the device that tc shapes, and whether traffic passes the NIC also when nothing
   * shapes it.
   */
  readonly networkBackend: NetworkBackend;
  readonly device: string;
  readonly alwaysNic: boolean;
}

export interface Host {
  readonly address: string;
  /**
   * Has its guests moved elsewhere, for at most so long; answers those that are still here, which are parked. Nothing
   * but close() is to follow.
   */
  drain(withinMs: number): Promise<LeftGuest[]>;
  close(): Promise<void>;
}

/** Starts a host; when this answers, it is registered and its lease runs. */
export async function startHost(settings: HostSettings): Promise<Host> {
  returnStartMemory();
  await removeStaleAddresses(settings.device);
  const table = new GuestTable(settings.capacityBytes);
  const statistics = new HostStatistics(table);
  const lease = new Lease({
    renewed: (untilMs) => {
      for (const { guest } of table.entries()) guest.control.leaseUntilMs = untilMs;
    },
    ended: () => desk.park(),
  });
  const link = new CoordinatorLink({
    host: settings.name,
    coordinator: settings.coordinator,
    capacityBytes: settings.capacityBytes,
    incarnation: randomUUID(),
  });
  const desk = new HandoverDesk(settings.name, table, link, lease);
  const data = { listen: settings.dataListen, advertise: settings.advertise ?? settings.dataListen };
  const network = await HostNetwork.start({
    host: settings.name,
    backend: settings.networkBackend,
    device: settings.device,
    alwaysNic: settings.alwaysNic,
    data,
  });
  const threads = new ReadyThreads(['mover', 'guest']);
  const nics = new GuestNics(network, settings.device);
  const { name: host } = settings;
  const gangs = new Gangs(settings.capacityBytes);
  const contents = new HostContents(settings.capacityBytes);
  const moves = { host, table, desk, statistics, network, threads };
  const dirtyRates = new DirtyRateProbes();
  const outgoing = new OutgoingMoves({ ...moves, link, gangs, dirtyRates });
  const incoming = new IncomingMoves({ ...moves, lease, nics, contents });
  const probes = new LinkProbes(settings.name, network);
  const parts = { table, desk, outgoing, incoming, statistics, network, probes, nics, dirtyRates };
  const service = hostService(parts);
  const server = await serve([service], settings.listen);
  const close = async (): Promise<void> => {
    await link.close();
    // Nobody can settle for this host any more: what is open stands still, whatever the lease says.
    desk.park();
    dirtyRates.close();
    await server.close();
    await Promise.all([...table.entries()].map((entry) => table.remove(entry)));
    await threads.close();
    await network.close();
    lease.close();
    statistics.close();
  };
  try {
    await link.start(lease, {
      address: advertised(server.address, settings.advertise),
      held: () => table.held(),
      heldWithSpecs: () => table.heldWithSpecs(),
      stats: () => statistics.take(),
    });
  } catch (error) {
    await close();
    throw error;
  }
  const drain = (withinMs: number) => drainHost({ table, link, outgoing, incoming }, withinMs);
  return { address: server.address, drain, close };
}

/** The service's address as others reach it: the port that it got, under the advertised name. */
function advertised(address: string, advertise: string | undefined): string {
  if (advertise === undefined) return address;
  return `${advertise}:${address.slice(address.lastIndexOf(':') + 1)}`;
}
