/**
 * How a load generator's messages reach a guest: in UDP datagrams, or in one TCP connection that is made again
 * when it breaks.
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ClientProtocol } from '../proto/client-load.ts';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { MESSAGE_BYTES_MAX } from '../proto/guest-request.ts';
import { MessageSplitter, SplitEnd, withLength } from '../proto/message-stream.ts';
import { LOAD_LIMITS } from './limits.ts';

export interface LoadChannel {
  readonly reconnects: number;
  send(message: Buffer): void;
  close(): void;
}

export interface Peer {
  readonly host: string;
  readonly port: number;
}

/**
 * The first attempt is this short, and each later one twice as long: an address that moves swallows what asks
 * for a connection meanwhile, and the kernel would ask again only after a second.
 */
const ATTEMPT_MS_MIN = 50;
const ATTEMPT_MS_MAX = 5000;

/** @throws Error when nobody is there */
export function openChannel(
  protocol: ClientProtocol,
  peer: Peer,
  received: (message: Buffer) => void,
): Promise<LoadChannel> {
  return protocol === 'udp' ? openUdp(peer, received) : TcpChannel.open(peer, received);
}

async function openUdp({ host, port }: Peer, received: (message: Buffer) => void): Promise<LoadChannel> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  socket.connect(port, host);
  await once(socket, 'connect');
  socket.on('message', received);
  // Nobody listens there at the moment: the datagram is lost, and told as such when its time is over.
  socket.on('error', () => {});
  return {
    reconnects: 0,
    send: (message) => socket.send(message, () => {}),
    close: () => socket.close(),
  };
}

class TcpChannel implements LoadChannel {
  readonly #peer: Peer;
  readonly #received: (message: Buffer) => void;
  #socket: Socket | undefined;
  #connecting: Socket | undefined;
  /** Waits for the connection. */
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #isClosed = false;
  #reconnects = 0;
  #timer: NodeJS.Timeout | undefined;

  private constructor(peer: Peer, received: (message: Buffer) => void) {
    this.#peer = peer;
    this.#received = received;
  }

  static async open(peer: Peer, received: (message: Buffer) => void): Promise<TcpChannel> {
    const channel = new TcpChannel(peer, received);
    const where = `${peer.host}:${peer.port}`;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        channel.close();
        reject(new Error(`nobody answers at ${where}`));
      }, DEADLINES_MS.dataConnect);
      channel.#connect(ATTEMPT_MS_MIN, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    return channel;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  send(message: Buffer): void {
    const socket = this.#socket;
    const bytes = withLength(message);
    if (socket !== undefined) {
      if (socket.writableLength < LOAD_LIMITS.unsentBytesMax) socket.write(bytes);
      return;
    }
    if (this.#unsentBytes + bytes.byteLength > LOAD_LIMITS.unsentBytesMax) return;
    this.#unsent.push(bytes);
    this.#unsentBytes += bytes.byteLength;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#connecting?.destroy();
  }

  /** One attempt after the other until one succeeds. */
  #connect(attemptMs: number, connected: () => void): void {
    if (this.#isClosed) return;
    const socket = connect({ ...this.#peer, noDelay: true });
    this.#connecting = socket;
    const timer = setTimeout(() => socket.destroy(), attemptMs);
    this.#timer = timer;
    // Refused, or cut: told by its close.
    socket.on('error', () => {});
    socket.once('connect', () => {
      clearTimeout(timer);
      this.#connected(socket);
      connected();
    });
    socket.once('close', () => {
      if (this.#socket === socket) return;
      clearTimeout(timer);
      const nextMs = Math.min(2 * attemptMs, ATTEMPT_MS_MAX);
      // A refusal comes at once: not in a tight circle.
      this.#timer = setTimeout(() => this.#connect(nextMs, connected), 1);
    });
  }

  #connected(socket: Socket): void {
    if (this.#isClosed) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    this.#connecting = undefined;
    const splitter = new MessageSplitter(MESSAGE_BYTES_MAX);
    socket.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      for (let message = splitter.next(); message !== SplitEnd.NEED_MORE; message = splitter.next()) {
        if (message === SplitEnd.MALFORMED) {
          socket.destroy();
          return;
        }
        this.#received(message);
      }
    });
    socket.once('close', () => {
      this.#socket = undefined;
      if (this.#isClosed) return;
      this.#reconnects++;
      this.#connect(ATTEMPT_MS_MIN, () => {});
    });
    for (const bytes of this.#unsent.splice(0)) socket.write(bytes);
    this.#unsentBytes = 0;
  }
}
