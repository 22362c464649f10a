/** The UDP side of a guest's own address: a datagram is a message. What cannot be kept or sent is lost. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';
import { Fifo } from '../network/fifo.ts';
import { type Client, ClientProtocol, encodeClient } from './client-flow.ts';
import { DATAGRAMS_KEPT_MAX, UNSENT_BYTES_MAX } from './limits.ts';
import type { Flow, NicInlet } from './uplink.ts';

export class ClientDatagrams {
  readonly #socket: Socket = createSocket('udp4');
  readonly #port: NicInlet;
  readonly #kept = new Fifo<{ readonly flow: Flow; readonly message: Buffer }>();

  constructor(port: NicInlet) {
    this.#port = port;
    this.#socket.on('message', (message, { address, port: clientPort }) => {
      if (message.byteLength > MESSAGE_BYTES_MAX) return;
      this.#take(encodeClient({ protocol: ClientProtocol.UDP, address, port: clientPort }), message);
    });
  }

  /** Answers the port that it got. @throws Error as bind(2) does */
  async listen(address: string, port: number): Promise<number> {
    this.#socket.bind({ address, port });
    await once(this.#socket, 'listening');
    // From now on an error is about one datagram, which is lost.
    this.#socket.on('error', () => {});
    return this.#socket.address().port;
  }

  send({ address, port }: Client, message: Uint8Array): void {
    if (this.#socket.getSendQueueSize() > UNSENT_BYTES_MAX) return;
    // A copy: it is sent after this has answered.
    this.#socket.send(Buffer.from(message), port, address, () => {});
  }

  room(): void {
    for (let next = this.#kept.peek(); next !== undefined; next = this.#kept.peek()) {
      if (!this.#port.offer(next.flow, next.message)) return;
      this.#kept.shift();
    }
  }

  /** Forgets what it keeps for the guest. */
  forget(): void {
    this.#kept.clear();
  }

  close(): void {
    this.#socket.close();
  }

  #take(flow: Flow, message: Buffer): void {
    if (this.#kept.length === 0 && this.#port.offer(flow, message)) return;
    if (this.#kept.length < DATAGRAMS_KEPT_MAX) this.#kept.push({ flow, message });
  }
}
