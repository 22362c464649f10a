/**
 * iperf3 as a peer: what TCP carries between two processes of this machine, over loopback or between two
 * network namespaces. It moves no memory and keeps no books: the practical limit.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { z } from 'zod';
import { DEADLINES_MS, PATIENCE } from '../../proto/deadlines.ts';
import { Child } from '../children.ts';
import { asPeer } from './peer.ts';

export interface Iperf3Settings {
  /** Parallel connections. */
  readonly streams: number;
  /** Where the receiver listens. */
  readonly address: string;
  /** The command that brings the sender to its place, such as `nsenter`; likewise for the receiver. */
  readonly senderPrefix?: readonly string[];
  readonly receiverPrefix?: readonly string[];
}

export const IPERF3 = 'iperf3';
/** The start of a connection is not counted. */
const OMIT_S = 1;
const MEASURE_S = 3;

/**
 * One run from sender to receiver.
 *
 * @returns bytes per second of payload, as the receiver counted them
 * @throws PeerProblem when iperf3 is missing, or does not do it
 */
export function iperf3(settings: Iperf3Settings): Promise<number> {
  const { streams, address, senderPrefix = [], receiverPrefix = [] } = settings;
  return asPeer(IPERF3, async () => {
    const port = String(await freePort());
    const where = ['--port', port, '--forceflush'];
    const server = new Child([
      ...[...receiverPrefix, IPERF3, '--server', '--one-off', '--bind', address],
      ...where,
    ]);
    try {
      await server.line('Server listening', DEADLINES_MS.processStart);
      const times = ['--time', String(MEASURE_S), '--omit', String(OMIT_S), '--parallel', String(streams)];
      const client = new Child([...senderPrefix, IPERF3, '--client', address, '--json', ...times, ...where]);
      try {
        const deadlineMs = DEADLINES_MS.processStart + (OMIT_S + MEASURE_S) * 1000 * PATIENCE;
        return receivedBytesPerS((await client.output(deadlineMs)).text);
      } finally {
        await client.stop();
      }
    } finally {
      await server.stop();
    }
  });
}

/** iperf3 takes no port 0: one that is free now, most likely still is in a moment. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const result = z.object({
  error: z.string().optional(),
  end: z.object({ sum_received: z.object({ bits_per_second: z.number().positive() }).optional() }),
});

/** What the receiver got per second, from iperf3's JSON. @throws Error with iperf3's own words */
export function receivedBytesPerS(json: string): number {
  const { error, end } = result.parse(JSON.parse(json));
  if (end.sum_received === undefined)
    throw new Error(error ?? 'its result holds no sum of what was received');
  return end.sum_received.bits_per_second / 8;
}
