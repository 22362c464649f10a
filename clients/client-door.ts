/**
 * Where a guest's clients come in: one address and port, for UDP and for TCP. Each request goes into the
 * guest's table with a way back. TCP connections end here, so they stay while the guest moves.
 */

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { nowMs } from '../proto/clock.ts';
import { MESSAGE_BYTES_MAX } from '../proto/guest-request.ts';
import { MessageSplitter, SplitEnd, withLength } from '../proto/message-stream.ts';
import { FORWARDER_LIMITS } from './limits.ts';
import type { RequestTable } from './request-table.ts';

export class ClientDoor {
  readonly port: number;
  readonly #table: RequestTable;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #clients = new Set<Socket>();
  /** Clients that are not read because the table is full. */
  readonly #halted = new Set<() => void>();

  private constructor(table: RequestTable, udp: UdpSocket, tcp: Server, port: number) {
    this.#table = table;
    this.#udp = udp;
    this.#tcp = tcp;
    this.port = port;
    udp.on('message', (message, from) => this.#datagram(message, from));
    // A client that is not there any more: what was sent to it is lost, as UDP has it.
    udp.on('error', () => {});
    // A connection that cannot be accepted: its client is told by the kernel.
    tcp.on('error', () => {});
    tcp.on('connection', (socket) => this.#client(socket));
    tcp.maxConnections = FORWARDER_LIMITS.clientsMax;
  }

  /**
   * Opens the door.
   *
   * @param port 0 for any that is free
   * @throws Error when the address or the port cannot be had
   */
  static async open(table: RequestTable, address: string, port: number): Promise<ClientDoor> {
    for (let tries = 1; ; tries++) {
      const tcp = createServer({ noDelay: true });
      const udp = createSocket({ type: 'udp4', recvBufferSize: FORWARDER_LIMITS.datagramBytesMax });
      try {
        await once(tcp.listen(port, address), 'listening');
        const { port: given } = tcp.address() as { port: number };
        udp.bind(given, address);
        await once(udp, 'listening');
        return new ClientDoor(table, udp, tcp, given);
      } catch (error) {
        tcp.close();
        udp.close();
        // Somebody else has this port for UDP.
        const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
        if (port !== 0 || !isTaken || tries === FORWARDER_LIMITS.portTriesMax) throw error;
      }
    }
  }

  /** Reads on where there was no room. */
  readHalted(): void {
    const halted = [...this.#halted];
    this.#halted.clear();
    for (const read of halted) read();
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    this.#udp.close();
    const closed = once(this.#tcp, 'close');
    this.#tcp.close();
    await closed;
  }

  #datagram(message: Buffer, { address, port }: RemoteInfo): void {
    if (message.byteLength === 0 || message.byteLength > MESSAGE_BYTES_MAX) return;
    // Nobody can be answered there.
    if (port === 0) return;
    this.#table.add(message, (answer) => this.#udp.send(answer, port, address), nowMs());
  }

  #client(socket: Socket): void {
    this.#clients.add(socket);
    const splitter = new MessageSplitter(MESSAGE_BYTES_MAX);
    const reply = (answer: Buffer): void => {
      if (socket.destroyed) return;
      if (socket.writableLength > FORWARDER_LIMITS.unsentBytesMax) socket.destroy();
      else socket.write(withLength(answer));
    };
    const read = (): void => {
      while (this.#table.hasRoom) {
        const message = splitter.next();
        if (message === SplitEnd.NEED_MORE) {
          socket.resume();
          return;
        }
        if (message === SplitEnd.MALFORMED) {
          socket.destroy();
          return;
        }
        this.#table.add(message, reply, nowMs());
      }
      socket.pause();
      this.#halted.add(read);
    };
    socket.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      read();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#clients.delete(socket);
      this.#halted.delete(read);
    });
  }
}
