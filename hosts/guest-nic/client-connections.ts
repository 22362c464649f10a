/** The TCP side of a guest's own address: connections that end in this host's kernel (proto/message-stream.ts). */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';
import { MessageSplitter, SplitEnd, withLength } from '../../proto/message-stream.ts';
import { type Client, ClientProtocol, encodeClient } from './client-flow.ts';
import { CONNECTIONS_MAX, UNSENT_BYTES_MAX } from './limits.ts';
import type { Flow, NicInlet } from './uplink.ts';

export class ClientConnections {
  readonly #server: Server = createServer({ noDelay: true, keepAlive: true });
  /** By the client's "address:port". */
  readonly #connections = new Map<string, ClientConnection>();

  constructor(port: NicInlet) {
    this.#server.on('connection', (socket) => {
      const { remoteAddress: address, remotePort: clientPort } = socket;
      // One that is gone already has no address.
      if (address === undefined || clientPort === undefined || this.#connections.size >= CONNECTIONS_MAX) {
        socket.resetAndDestroy();
        return;
      }
      const key = `${address}:${clientPort}`;
      const flow = encodeClient({ protocol: ClientProtocol.TCP, address, port: clientPort });
      const connection = new ClientConnection(socket, flow, port);
      this.#connections.set(key, connection);
      socket.once('close', () => {
        if (this.#connections.get(key) === connection) this.#connections.delete(key);
      });
    });
  }

  /** Answers the port that it got. @throws Error as bind(2) does */
  async listen(address: string, port: number): Promise<number> {
    this.#server.listen({ host: address, port });
    await once(this.#server, 'listening');
    // A connection that cannot be accepted: its client is told by the kernel.
    this.#server.on('error', () => {});
    return (this.#server.address() as AddressInfo).port;
  }

  send({ address, port }: Client, message: Uint8Array): void {
    this.#connections.get(`${address}:${port}`)?.send(message);
  }

  room(): void {
    for (const connection of this.#connections.values()) connection.room();
  }

  /** Ends all connections at once. */
  reset(): void {
    for (const connection of this.#connections.values()) connection.reset();
  }

  close(): void {
    this.#server.close();
    this.reset();
  }
}

class ClientConnection {
  readonly #socket: Socket;
  readonly #flow: Flow;
  readonly #port: NicInlet;
  readonly #splitter = new MessageSplitter(MESSAGE_BYTES_MAX);
  /** A message that the guest could not take. While there is one nothing is read: the client's kernel keeps it. */
  #held: Buffer | undefined;

  constructor(socket: Socket, flow: Flow, port: NicInlet) {
    this.#socket = socket;
    this.#flow = flow;
    this.#port = port;
    socket.on('data', (bytes) => {
      this.#splitter.push(bytes);
      this.#offer();
    });
    // `close` follows, and says it as well.
    socket.on('error', () => {});
  }

  send(message: Uint8Array): void {
    if (this.#socket.writableLength > UNSENT_BYTES_MAX) this.reset();
    else this.#socket.write(withLength(message));
  }

  room(): void {
    if (this.#held === undefined || !this.#port.offer(this.#flow, this.#held)) return;
    this.#held = undefined;
    this.#offer();
    if (this.#held === undefined) this.#socket.resume();
  }

  reset(): void {
    this.#held = undefined;
    this.#socket.resetAndDestroy();
  }

  #offer(): void {
    for (;;) {
      const message = this.#splitter.next();
      if (message === SplitEnd.NEED_MORE) return;
      if (message === SplitEnd.MALFORMED) break;
      if (this.#port.offer(this.#flow, message)) continue;
      this.#held = message;
      this.#socket.pause();
      return;
    }
    this.reset();
  }
}
