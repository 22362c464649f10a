/**
 * The way of one migration or probe to and from another host: directly, or through this host's NIC. Which
 * one is decided when it is opened, so that both ends of a connection take the same way; whoever opens it
 * closes it.
 */

import { errorText } from '../proto/errors.ts';
import type { Nic } from './network/nic.ts';

/** Where this host's data ports listen, and under which address others reach them. */
export interface DataAddress {
  readonly listen: string;
  readonly advertise: string;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

const OWN_ADDRESS = '127.0.0.1';

export class NetworkPath {
  readonly #nic: Nic | undefined;
  readonly #data: DataAddress;
  readonly #peer: string;
  readonly #closed: () => void;
  readonly #ports: number[] = [];
  #isClosed = false;

  /** @param nic undefined for the direct way. @param closed told once, when the path is closed */
  constructor(nic: Nic | undefined, data: DataAddress, peer: string, closed: () => void) {
    this.#nic = nic;
    this.#data = data;
    this.#peer = peer;
    this.#closed = closed;
  }

  /** Where a port must listen that is to be exposed on this path. */
  get listenAddress(): string {
    return this.#nic === undefined ? this.#data.listen : OWN_ADDRESS;
  }

  /** Where the peer reaches what listens on a port of this host. */
  async expose(localPort: number): Promise<Endpoint> {
    const { listen, advertise } = this.#data;
    if (this.#nic === undefined) return { address: advertise, port: localPort };
    return { address: advertise, port: await this.#keep(this.#nic.expose(localPort, listen, this.#peer)) };
  }

  /** Where this host connects in order to reach what the peer has exposed. */
  async dial({ address, port }: Endpoint): Promise<Endpoint> {
    if (this.#nic === undefined) return { address, port };
    return { address: OWN_ADDRESS, port: await this.#keep(this.#nic.dial(address, port, this.#peer)) };
  }

  /** Takes no more connections; those that stand go on. May be called twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closed();
    await Promise.all(this.#ports.splice(0).map((port) => this.#release(port)));
  }

  async #keep(opened: Promise<number>): Promise<number> {
    const port = await opened;
    // It was closed meanwhile, and would not release this one any more.
    if (this.#isClosed) await this.#release(port);
    else this.#ports.push(port);
    return port;
  }

  async #release(port: number): Promise<void> {
    try {
      await this.#nic?.release(port);
    } catch (error) {
      // The NIC has ended, and its ports with it.
      process.stderr.write(`godwit host: ${errorText(error)}\n`);
    }
  }
}
