/** One connection of the destination to the source's data port: frames of control out, everything else in. */

import { connect, type Socket } from 'node:net';
import { errorText } from '../../proto/errors.ts';
import type { Ticket } from '../../proto/generated/godwit/v1/host.ts';
import { Encryption } from '../../proto/generated/godwit/v1/migration.ts';
import { type ConnectionKeys, Hello } from '../transform/encryption/handshake.ts';
import type { Sealing } from '../transform/encryption/sealing.ts';
import { channelBinding, dialTls, isTlsViolation } from '../transform/encryption/tls.ts';
import { ChannelReceiver, type ReceiverHooks, WireViolation } from './channel-receiver.ts';
import { ChannelSender } from './channel-sender.ts';
import { FrameDecoder } from './frame-decoder.ts';
import type { ChannelGeometry } from './page-runs.ts';
import type { Silence } from './silence.ts';
import type { Body, Frame } from './wire.ts';

export interface DestinationChannelSettings {
  /** Of the source's data port. */
  readonly host: string;
  readonly port: number;
  readonly index: number;
  readonly geometry: ChannelGeometry;
  readonly ticket: Ticket;
  readonly sealing: Sealing;
}

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
  /** Whether the source has welcomed it: before, nothing but HELLO may be said. */
  isWelcomed = false;
  /** Resolves when the connection has ended at both sides. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #settings: DestinationChannelSettings;
  readonly #receiver: ChannelReceiver;
  #hello: Hello | undefined;

  constructor(settings: DestinationChannelSettings, silence: Silence, hooks: DestinationChannelHooks) {
    const { host, port, index, geometry, sealing, ticket } = settings;
    this.#settings = settings;
    this.index = index;
    this.#receiver = new ChannelReceiver(new FrameDecoder('source', geometry), {
      ...hooks,
      place: (frame) => hooks.place(this.#mayCome(frame)),
      frame: (frame, payload) => hooks.frame(this.#mayCome(frame), payload),
    });
    // The type asks for one buffer or a function that makes one; Node takes the function before every read.
    const { onread } = this.#receiver;
    const isTls = sealing.encryption === Encryption.ENCRYPTION_TLS;
    const options = { host, port, noDelay: true, onread };
    this.#socket = isTls ? dialTls(options, ticket) : connect(options);
    this.sender = new ChannelSender(this.#socket, silence);
    const lose = (error: Error): void => {
      this.#receiver.stop();
      this.sender.lose(error);
      hooks.lost(error);
    };
    const failed = `channel ${this.index}: the data connection to the source`;
    this.#socket.on('error', (error) => {
      const problem = `${failed} failed (${error.message})`;
      if (isTlsViolation(error)) hooks.failed(new WireViolation(problem));
      else lose(new Error(problem));
    });
    this.#socket.on('close', () => lose(new Error(`${failed} was closed by it`)));
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    if (isTls) this.#socket.once('secureConnect', () => this.#sayHello());
    else this.#sayHello();
  }

  /**
   * WELCOME is here: what follows comes and leaves in sealed records.
   *
   * @throws WireViolation when it is not the migration's source that welcomes
   */
  welcomed(welcome: Body<'WELCOME'>): void {
    if (this.#hello === undefined || this.isWelcomed) throw new WireViolation('WELCOME is not allowed now');
    let keys: ConnectionKeys;
    try {
      keys = this.#hello.welcomed(welcome);
    } catch (error) {
      throw new WireViolation(errorText(error));
    }
    this.isWelcomed = true;
    const ends = this.#settings.sealing.ends(keys);
    if (ends === undefined) return;
    this.#receiver.seal(ends.opener);
    this.sender.seal(ends.sealer);
  }

  /** Whoever speaks before WELCOME has proven nothing. @throws WireViolation */
  #mayCome(frame: Frame): Frame {
    if (this.isWelcomed || frame.type === 'WELCOME') return frame;
    throw new WireViolation(`${frame.type} came before WELCOME, from whoever that was`);
  }

  #sayHello(): void {
    const { ticket, sealing, index, geometry } = this.#settings;
    const { migration } = ticket;
    const { pageCount } = geometry;
    const binding = channelBinding(this.#socket);
    const hello = new Hello({ ticket, encryption: sealing.encryption, channel: index, pageCount, binding });
    this.#hello = hello;
    this.sender.send('HELLO', { migration, channel: index, pageCount, ...hello.greeting });
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
