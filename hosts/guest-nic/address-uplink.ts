/**
 * The uplink of a guest with an IP address of its own: UDP and TCP on that address, which is on this host's device
 * from the first announcement to the withdrawal. The sockets are there before, so that nothing but the address has to
 * change within the downtime.
 *
 * What a client sends to the old host meanwhile is lost. A TCP connection ends with the guest's leaving, since its
 * state is in this host's kernel and not in the guest: the new host's kernel resets it at the client's next segment.
 */
import { errorText } from '../../proto/errors.ts';
import type { GuestNetwork } from '../../proto/generated/godwit/v1/guest.ts';
import { ClientConnections } from './client-connections.ts';
import { ClientDatagrams } from './client-datagrams.ts';
import { ClientProtocol, decodeClient } from './client-flow.ts';
import { GuestAddress, requireAddressSettings } from './guest-address.ts';
import type { Flow, NicPort, Uplink } from './uplink.ts';

export interface AddressUplinkSettings {
  readonly guest: string;
  /** Has an address and a port. */
  readonly network: GuestNetwork;
  /** The device that carries the host's traffic. */
  readonly device: string;
}

interface Parts {
  readonly address: GuestAddress;
  readonly datagrams: ClientDatagrams;
  readonly connections: ClientConnections;
}

export class AddressUplink implements Uplink {
  readonly #settings: AddressUplinkSettings;
  #starting: Promise<void> | undefined;
  #parts: Parts | undefined;
  #complaint = '';

  constructor(settings: AddressUplinkSettings) {
    this.#settings = settings;
  }

  start(port: NicPort): Promise<void> {
    this.#starting = this.#start(port);
    return this.#starting;
  }

  announce(): void {
    this.#parts?.address.announce().catch((error: unknown) => this.#complain(error));
  }

  withdraw(): void {
    if (this.#parts === undefined) return;
    const { address, datagrams, connections } = this.#parts;
    datagrams.forget();
    address
      .withdraw()
      .catch((error: unknown) => this.#complain(error))
      // Not before: a client that hears of it would connect again to where the address still is.
      .then(() => connections.reset());
  }

  send(flow: Flow, message: Uint8Array): void {
    const client = decodeClient(flow);
    if (client?.protocol === ClientProtocol.UDP) this.#parts?.datagrams.send(client, message);
    if (client?.protocol === ClientProtocol.TCP) this.#parts?.connections.send(client, message);
  }

  room(): void {
    this.#parts?.datagrams.room();
    this.#parts?.connections.room();
  }

  async close(): Promise<void> {
    await this.#starting?.catch(() => {});
    const parts = this.#parts;
    this.#parts = undefined;
    parts?.datagrams.close();
    // Before the connections, as when it is withdrawn.
    await parts?.address.close();
    parts?.connections.close();
  }

  async #start(port: NicPort): Promise<void> {
    const { guest, network, device } = this.#settings;
    const datagrams = new ClientDatagrams(port);
    const connections = new ClientConnections(port);
    try {
      requireAddressSettings(device);
      // First the sockets: if another uplink has the address here it keeps it.
      await datagrams.listen(network.address, network.port);
      await connections.listen(network.address, network.port);
      const address = await GuestAddress.start(network.address, device);
      this.#parts = { address, datagrams, connections };
    } catch (error) {
      datagrams.close();
      connections.close();
      const where = `${network.address}:${network.port}`;
      throw new Error(`guest "${guest}" cannot answer on ${where}: ${errorText(error)}`, { cause: error });
    }
  }

  /** What happens again and again is told once. */
  #complain(error: unknown): void {
    const text = errorText(error);
    if (text === this.#complaint) return;
    this.#complaint = text;
    process.stderr.write(`godwit host: guest "${this.#settings.guest}": ${text}\n`);
  }
}
