/**
 * What this host gives to the NICs of its guests: the device, and the way to the forwarder, which is the host's own
 * NIC's, so that clients and migrations share it.
 */

import { errorText } from '../proto/errors.ts';
import type { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import { endpointOf } from '../proto/guest-network.ts';
import { PROBLEM_CHARACTERS_MAX } from './guest-nic/limits.ts';
import type { GuestNicSettings } from './guest-nic/nic-owner.ts';
import type { HostNetwork } from './host-network.ts';

/** Clients are nobody's peer: what is shaped between hosts does not concern them. */
const NO_PEER = '';

export class GuestNics {
  readonly #network: HostNetwork;
  readonly #device: string;

  /** @param device the device that carries the host's traffic */
  constructor(network: HostNetwork, device: string) {
    this.#network = network;
    this.#device = device;
  }

  /**
   * For a guest that is about to be made; undefined when it has no network.
   *
   * @param epoch the ownership epoch under which it will run here
   * @throws when the host's NIC cannot lead to the forwarder
   */
  async settings({ network }: GuestSpec, epoch: bigint): Promise<GuestNicSettings | undefined> {
    if (network === undefined) return undefined;
    const settings = { epoch: Number(epoch), device: this.#device };
    const forwarder = endpointOf(network.forwarder);
    if (forwarder === undefined) return { ...settings, release: async () => {} };
    const path = await this.#network.openPath(NO_PEER);
    try {
      const dial = await path.dial(forwarder);
      return { ...settings, dial, release: () => path.close() };
    } catch (error) {
      await path.close();
      throw error;
    }
  }

  /** As `settings`, for a guest that arrives: where it throws, the guest is to arrive without clients, and why. */
  async settingsOrProblem(spec: GuestSpec, epoch: bigint): Promise<GuestNicSettings | Error | undefined> {
    try {
      return await this.settings(spec, epoch);
    } catch (cause) {
      const problem = `the NIC of guest ${spec.name}: ${errorText(cause)}`.slice(0, PROBLEM_CHARACTERS_MAX);
      process.stderr.write(`godwit host: ${problem}\n`);
      return new Error(problem, { cause });
    }
  }
}
