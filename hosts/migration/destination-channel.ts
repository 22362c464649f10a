/** One connection of the destination to the source's data port: frames of control out, everything else in. */

import { connect, type Socket } from 'node:net';
import { ChannelReceiver, type ReceiverHooks } from './channel-receiver.ts';
import { ChannelSender } from './channel-sender.ts';
import type { ChannelGeometry } from './page-runs.ts';
import type { Silence } from './silence.ts';

export interface DestinationChannelHooks extends ReceiverHooks {
  /** The source, or the network, ended the connection. */
  lost(error: Error): void;
}

export class DestinationChannel {
  readonly sender: ChannelSender;
  readonly index: number;
  /** The last round that ended on this channel. */
  round = 0;
  /** Whether pages came after it. */
  isInRound = false;
  readonly #socket: Socket;

  constructor(
    source: { readonly host: string; readonly port: number },
    index: number,
    geometry: ChannelGeometry,
    silence: Silence,
    hooks: DestinationChannelHooks,
  ) {
    this.index = index;
    const { onread } = new ChannelReceiver(geometry, hooks);
    // The type asks for one buffer or a function that makes one; Node takes the function before every read.
    this.#socket = connect({ ...source, noDelay: true, onread });
    this.sender = new ChannelSender(this.#socket, silence);
    const lose = (error: Error): void => {
      this.sender.lose(error);
      hooks.lost(error);
    };
    const failed = `channel ${this.index}: the data connection to the source`;
    this.#socket.on('error', ({ message }) => lose(new Error(`${failed} failed (${message})`)));
    this.#socket.on('close', () => lose(new Error(`${failed} was closed by it`)));
  }

  /** Ends the connection after everything sent has left. */
  end(): void {
    this.#socket.end();
    this.#socket.unref();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
