/**
 * A client as a flow (uplink.ts): how it came and from where, and nothing that only one host knows. The layout is
 * protocol (1), zero (1), port (2), IPv4 address (4), zeroes.
 */
import { FLOW_BYTES } from '../../proto/guest-network.ts';
import type { Flow } from './uplink.ts';

export const ClientProtocol = { UDP: 1, TCP: 2 } as const;
export type ClientProtocol = (typeof ClientProtocol)[keyof typeof ClientProtocol];

export interface Client {
  readonly protocol: ClientProtocol;
  /** An IPv4 address. */
  readonly address: string;
  readonly port: number;
}

export function encodeClient({ protocol, address, port }: Client): Flow {
  const flow = new Uint8Array(FLOW_BYTES);
  flow[0] = protocol;
  flow[2] = port >> 8;
  flow[3] = port & 0xff;
  flow.set(address.split('.').map(Number), 4);
  return flow;
}

/** Undefined when no client can be reached by this flow. */
export function decodeClient(flow: Flow): Client | undefined {
  const [protocol, , portHigh = 0, portLow = 0] = flow;
  if (protocol !== ClientProtocol.UDP && protocol !== ClientProtocol.TCP) return undefined;
  const port = portHigh * 256 + portLow;
  // A datagram can have come from port 0, but none can be sent there.
  if (port === 0) return undefined;
  return { protocol, address: flow.subarray(4, 8).join('.'), port };
}
