/**
 * What people and experiments ask of hosts' networks: passed on to the host by its name, and probes between
 * two hosts.
 */

import { randomBytes } from 'node:crypto';
import { RpcError } from '../proto/errors.ts';
import type {
  CoordinatorServiceProbeLinkRequest,
  CoordinatorServiceProbeLinkResponse,
  CoordinatorServiceSendTrafficRequest,
  CoordinatorServiceSendTrafficResponse,
  CoordinatorServiceSetLinkFaultRequest,
  CoordinatorServiceSetNetworkRequest,
} from '../proto/generated/godwit/v1/coordinator.ts';
import type {
  HostServiceGetNetworkResponse,
  HostServiceServeProbeResponse,
} from '../proto/generated/godwit/v1/host.ts';
import { linkFaultName, linkFaultProblem, networkShapeProblems } from '../proto/network-shape.ts';
import type { EventLog } from './events.ts';
import type { HostClients } from './host-clients.ts';
import type { Placement } from './placement.ts';
import type { KnownHost } from './registry.ts';

/** Says that a probe is the one that was announced. */
const TOKEN_BYTES = 16;

export interface NetworksModules {
  events: EventLog;
  hosts: HostClients;
  placement: Placement;
}

export class Networks {
  readonly #modules: NetworksModules;

  constructor(modules: NetworksModules) {
    this.#modules = modules;
  }

  /**
   * Gives a host's NIC a shape, or takes it away.
   * @throws RpcError NOT_FOUND (no such host or peer), INVALID_ARGUMENT, FAILED_PRECONDITION when the host
   *   cannot make it
   */
  async setShape({ host, shape, faults }: CoordinatorServiceSetNetworkRequest): Promise<void> {
    const { events, hosts, placement } = this.#modules;
    const { address } = placement.liveHost(host);
    const problems = shape === undefined ? [] : networkShapeProblems(shape);
    if (problems.length > 0) throw new RpcError('INVALID_ARGUMENT', `network shape: ${problems.join('; ')}`);
    const peers = (shape?.peers ?? []).map(({ peer }) => placement.liveHost(peer));
    const peerAddresses = Object.fromEntries(peers.map((peer) => [peer.host, hostPart(peer)]));
    await hosts.setNetwork(address, host, { shape, faults, peerAddresses });
    events.emit('network-shaped', host, shape === undefined ? 'no shape' : `${peers.length} peers`);
  }

  /** The shape and the fault that a host's NIC has. */
  getShape(host: string): Promise<HostServiceGetNetworkResponse> {
    const { hosts, placement } = this.#modules;
    return hosts.getNetwork(placement.liveHost(host).address, host);
  }

  /** @throws RpcError NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION when the fault would reach nothing */
  async setFault({ host, fault }: CoordinatorServiceSetLinkFaultRequest): Promise<void> {
    const { events, hosts, placement } = this.#modules;
    const { address } = placement.liveHost(host);
    const problem = fault === undefined ? 'no fault was sent' : linkFaultProblem(fault);
    if (problem !== undefined || fault === undefined) throw new RpcError('INVALID_ARGUMENT', problem ?? '');
    await hosts.setLinkFault(address, host, fault);
    events.emit('network-fault', host, linkFaultName(fault.kind));
  }

  /**
   * Lets one host probe another, and says what was measured beside what was asked for.
   * @throws RpcError NOT_FOUND, INVALID_ARGUMENT, ABORTED when the link does not carry the probe
   */
  async probe(request: CoordinatorServiceProbeLinkRequest): Promise<CoordinatorServiceProbeLinkResponse> {
    const { hosts } = this.#modules;
    const { source, destination } = this.#twoHosts(request);
    const { roundTripCount, warmUpMs, measureMs } = request;
    const token = randomBytes(TOKEN_BYTES).toString('hex');
    const serving = hosts.serveProbe(destination.address, destination.host, { peer: source.host, token });
    try {
      const { address, port, shape } = await firstOf(serving, destination.host);
      return await hosts.probeLink(source.address, source.host, {
        target: destination.host,
        targetShape: shape,
        probe: { address, port, token, roundTripCount, warmUpMs, measureMs },
      });
    } finally {
      serving.cancel();
    }
  }

  /**
   * Lets one host send traffic of a set rate to another until the signal, and tells what arrives.
   * @throws RpcError NOT_FOUND, INVALID_ARGUMENT, ABORTED when it cannot pass
   */
  async *traffic(
    request: CoordinatorServiceSendTrafficRequest,
    signal: AbortSignal,
  ): AsyncGenerator<CoordinatorServiceSendTrafficResponse, void, undefined> {
    const { hosts } = this.#modules;
    const { source, destination } = this.#twoHosts(request);
    const { rateBytesPerS } = request;
    const token = randomBytes(TOKEN_BYTES).toString('hex');
    const serving = hosts.serveProbe(destination.address, destination.host, { peer: source.host, token });
    try {
      const { address, port } = await firstOf(serving, destination.host);
      const asked = { target: destination.host, address, port, token, rateBytesPerS };
      for await (const { sample } of hosts.sendTraffic(source.address, source.host, asked, signal)) {
        yield { sample };
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      serving.cancel();
    }
  }

  #twoHosts({ source: from, destination: to }: { readonly source: string; readonly destination: string }) {
    const { placement } = this.#modules;
    const source = placement.liveHost(from);
    const destination = placement.liveHost(to);
    if (source !== destination) return { source, destination };
    throw new RpcError('INVALID_ARGUMENT', `from ${from} to itself: name two hosts`);
  }
}

async function firstOf(
  serving: AsyncIterable<HostServiceServeProbeResponse>,
  host: string,
): Promise<HostServiceServeProbeResponse> {
  // Not a loop: to leave one would end the stream, and with it the serving.
  const first = await serving[Symbol.asyncIterator]().next();
  if (first.done !== true) return first.value;
  throw new RpcError('INTERNAL', `${host} ended the probe before it began`);
}

/** A registered address without its port. */
function hostPart({ address }: KnownHost): string {
  return address.slice(0, address.lastIndexOf(':'));
}
