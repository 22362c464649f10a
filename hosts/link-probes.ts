/** Probes between this host and others, and traffic of a set rate, over the same way as migrations take. */

import { once } from 'node:events';
import { errorText, RpcError } from '../proto/errors.ts';
import type {
  HostServiceProbeLinkRequest,
  HostServiceProbeLinkResponse,
  HostServiceSendTrafficRequest,
  HostServiceSendTrafficResponse,
  HostServiceServeProbeRequest,
  HostServiceServeProbeResponse,
} from '../proto/generated/godwit/v1/host.ts';
import { rateProblem, unshapedNetwork } from '../proto/network-shape.ts';
import type { HostNetwork } from './host-network.ts';
import { askedPath, compareProbe } from './network/comparison.ts';
import { probeRequestProblem, runProbe, serveProbe } from './network/probe.ts';
import { sendTraffic } from './network/traffic.ts';
import type { NetworkPath } from './network-path.ts';

/** How many probes may be served at a time. */
const SERVED_MAX = 32;

/** What a probe offers a link, as a multiple of what it was asked to carry. */
const OFFERED = 1.5;

export class LinkProbes {
  readonly #host: string;
  readonly #network: HostNetwork;
  #servedCount = 0;

  constructor(host: string, network: HostNetwork) {
    this.#host = host;
    this.#network = network;
  }

  /** Says where the peer is to probe, and answers it until the signal. */
  async *serve(
    { peer, token }: HostServiceServeProbeRequest,
    signal: AbortSignal,
  ): AsyncGenerator<HostServiceServeProbeResponse, void, undefined> {
    if (token === '') throw new RpcError('INVALID_ARGUMENT', 'serving a probe: it needs a token');
    if (this.#servedCount >= SERVED_MAX) {
      throw new RpcError('RESOURCE_EXHAUSTED', `${this.#host} serves ${SERVED_MAX} probes already; wait`);
    }
    this.#servedCount++;
    let path: NetworkPath | undefined;
    try {
      path = await this.#network.openPath(peer);
      const server = await serveProbe(path.listenAddress, token);
      try {
        const { address, port } = await path.expose(server.port);
        yield { address, port, shape: this.#network.shape };
        if (!signal.aborted) await once(signal, 'abort');
      } finally {
        await server.close();
      }
    } finally {
      this.#servedCount--;
      await path?.close();
    }
  }

  /**
   * Probes a host that serves this host.
   *
   * @throws RpcError INVALID_ARGUMENT, or ABORTED when the link does not carry the probe
   */
  async run({
    target,
    targetShape,
    probe,
  }: HostServiceProbeLinkRequest): Promise<HostServiceProbeLinkResponse> {
    const problem = probe === undefined ? 'it says nothing to measure' : probeRequestProblem(probe);
    if (problem !== undefined || probe === undefined) {
      throw new RpcError('INVALID_ARGUMENT', `probing ${target}: ${problem}`);
    }
    const path = await this.#network.openPath(target);
    try {
      const source = { name: this.#host, shape: this.#network.shape ?? unshapedNetwork() };
      const destination = { name: target, shape: targetShape ?? unshapedNetwork() };
      const { rateBytesPerS } = askedPath(source, destination);
      const result = await runProbe({ ...probe, ...(await path.dial(probe)) }, rateBytesPerS * OFFERED);
      return { result, comparison: compareProbe(source, destination, result) };
    } catch (error) {
      throw new RpcError('ABORTED', `probing ${target}: ${errorText(error)}`, { cause: error });
    } finally {
      await path.close();
    }
  }

  /**
   * Sends so much per second to a host that serves this host, until the signal.
   *
   * @throws RpcError INVALID_ARGUMENT, or ABORTED when the traffic cannot pass
   */
  async *traffic(
    { target, address, port, token, rateBytesPerS }: HostServiceSendTrafficRequest,
    signal: AbortSignal,
  ): AsyncGenerator<HostServiceSendTrafficResponse, void, undefined> {
    const problem = rateProblem(rateBytesPerS);
    if (problem !== undefined) throw new RpcError('INVALID_ARGUMENT', `traffic to ${target}: ${problem}`);
    const path = await this.#network.openPath(target);
    try {
      const dialled = await path.dial({ address, port });
      const samples = sendTraffic({ ...dialled, token, rateBytesPerS }, signal);
      for await (const sample of samples) yield { sample };
    } catch (error) {
      throw new RpcError('ABORTED', `traffic to ${target}: ${errorText(error)}`, { cause: error });
    } finally {
      await path.close();
    }
  }
}
