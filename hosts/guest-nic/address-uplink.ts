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
import { ClientSockets } from './client-sockets.ts';
import { GuestAddress, requireAddressSettings } from './guest-address.ts';
import { rehearseSockets } from './rehearsal.ts';
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
  readonly sockets: ClientSockets;
}

export class AddressUplink implements Uplink {
  readonly #settings: AddressUplinkSettings;
  #starting: Promise<void> | undefined;
  #parts: Parts | undefined;
  #port: NicPort | undefined;

  constructor(settings: AddressUplinkSettings) {
    this.#settings = settings;
  }

  start(port: NicPort): Promise<void> {
    this.#port = port;
    this.#starting = this.#start(port);
    return this.#starting;
  }

  announce(): void {
    this.#parts?.address.announce().then(
      () => this.#port?.trouble(''),
      (error: unknown) => this.#port?.trouble(errorText(error)),
    );
  }

  withdraw(): void {
    if (this.#parts === undefined) return;
    const { address, sockets } = this.#parts;
    void address
      .withdraw()
      .catch((error: unknown) => this.#port?.trouble(errorText(error)))
      // Not before: a client that hears of it would connect again to where the address still is.
      .then(() => sockets.reset());
  }

  get canSend(): boolean {
    return this.#parts !== undefined;
  }

  send(flow: Flow, message: Uint8Array): void {
    this.#parts?.sockets.send(flow, message);
  }

  room(): void {
    this.#parts?.sockets.room();
  }

  async close(): Promise<void> {
    await this.#starting?.catch(() => {});
    const parts = this.#parts;
    this.#parts = undefined;
    // First the address, as when it is withdrawn.
    await parts?.address.close();
    parts?.sockets.close();
  }

  async #start(port: NicPort): Promise<void> {
    const { guest, network, device } = this.#settings;
    const sockets = new ClientSockets(port);
    try {
      requireAddressSettings(device);
      // Before the address: if another uplink has it here, it keeps it.
      await sockets.listen(network.address, network.port);
      await rehearseSockets();
      this.#parts = { address: await GuestAddress.start(network.address, device), sockets };
      port.ready();
    } catch (error) {
      sockets.close();
      const where = `${network.address}:${network.port}`;
      throw new Error(`guest "${guest}" cannot answer on ${where}: ${errorText(error)}`, { cause: error });
    }
  }
}
