/** The sockets of a guest's own address: UDP and TCP on one address, each client told from the others by its flow. */
import { ClientConnections } from './client-connections.ts';
import { ClientDatagrams } from './client-datagrams.ts';
import { ClientProtocol, decodeClient } from './client-flow.ts';
import type { Flow, NicInlet } from './uplink.ts';

export class ClientSockets {
  readonly #datagrams: ClientDatagrams;
  readonly #connections: ClientConnections;

  constructor(port: NicInlet) {
    this.#datagrams = new ClientDatagrams(port);
    this.#connections = new ClientConnections(port);
  }

  /**
   * @param port 0 for any that is free, which need not be the same one for both
   * @throws Error as bind(2) does
   */
  async listen(address: string, port: number): Promise<{ udpPort: number; tcpPort: number }> {
    const udpPort = await this.#datagrams.listen(address, port);
    return { udpPort, tcpPort: await this.#connections.listen(address, port) };
  }

  /** A client that is not there any more gets nothing. */
  send(flow: Flow, message: Uint8Array): void {
    const client = decodeClient(flow);
    if (client?.protocol === ClientProtocol.UDP) this.#datagrams.send(client, message);
    if (client?.protocol === ClientProtocol.TCP) this.#connections.send(client, message);
  }

  room(): void {
    this.#datagrams.room();
    this.#connections.room();
  }

  /** Forgets what is kept for the guest, and ends all connections at once. */
  reset(): void {
    this.#datagrams.forget();
    this.#connections.reset();
  }

  close(): void {
    this.#datagrams.close();
    this.#connections.close();
  }
}
