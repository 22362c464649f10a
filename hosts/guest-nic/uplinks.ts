/** The uplink that a guest's network asks for. A new kind is a file and a line here. */

import type { GuestNetwork } from '../../proto/generated/godwit/v1/guest.ts';
import type { Endpoint } from '../network-path.ts';
import { AddressUplink } from './address-uplink.ts';
import { ForwarderUplink } from './forwarder-uplink.ts';
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

/** @throws Error in words for people when it cannot be had */
export function createUplink(settings: UplinkSettings): Uplink {
  const { guest, network, epoch, dial } = settings;
  return dial === undefined
    ? new AddressUplink(settings)
    : new ForwarderUplink({ guest, network, epoch, dial });
}
