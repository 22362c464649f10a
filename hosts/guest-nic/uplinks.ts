/** The uplink that a guest's network asks for. A new kind is a file and a line here. */

import type { GuestNetwork } from '../../proto/generated/godwit/v1/guest.ts';
import type { Endpoint } from '../network-path.ts';
import type { Uplink } from './uplink.ts';

export interface UplinkSettings {
  /** The guest's name. */
  readonly guest: string;
  readonly network: GuestNetwork;
  /** The ownership epoch under which the guest runs here, or will. */
  readonly epoch: number;
  /** With a forwarder: where it is, as reached through the host's NIC. */
  readonly dial?: Endpoint | undefined;
  /** The device that carries the host's traffic. */
  readonly device: string;
}

/** @throws Error in words for people when there is none */
export function createUplink({ guest, network }: UplinkSettings): Uplink {
  const asked = network.forwarder === '' ? `the address ${network.address}` : 'a forwarder';
  throw new Error(`guest "${guest}" asks for ${asked}, which is not built into this host`);
}
