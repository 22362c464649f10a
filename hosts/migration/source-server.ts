/**
 * The data port of a migration at the source: an ephemeral port on which the destination's channels, and
 * whoever else finds it, connect. A connection becomes a channel by a HELLO that proves the migration's ticket;
 * anything else is refused and counted, and does not disturb the migration. The port stays open until the
 * migration ends, so that what comes late is counted too.
 */

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import type { Ticket } from '../../proto/generated/godwit/v1/host.ts';
import { Encryption } from '../../proto/generated/godwit/v1/migration.ts';
import { answerHello, type Greeting } from '../transform/encryption/handshake.ts';
import { SEALING_LIMITS } from '../transform/encryption/limits.ts';
import type { SealedEnds, Sealing } from '../transform/encryption/sealing.ts';
import { expiryProblem } from '../transform/encryption/ticket.ts';
import { acceptTls, channelBinding } from '../transform/encryption/tls.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { Silence } from './silence.ts';
import { SourceChannel } from './source-channel.ts';
import type { Body } from './wire.ts';

export interface SourceServerSettings {
  readonly listenAddress: string;
  readonly ticket: Ticket;
  readonly sealing: Sealing;
  readonly pageCount: number;
  readonly channelCount: number;
}

/** A channel that has proven the ticket, and what it is to be welcomed with. */
interface Proven {
  readonly channel: SourceChannel;
  readonly greeting: Greeting;
  readonly ends: SealedEnds | undefined;
}

export class SourceServer {
  readonly #settings: SourceServerSettings;
  readonly #silence: Silence;
  readonly #onRefused: (reason: string) => void;
  readonly #server: Server;
  readonly #pending = new Set<SourceChannel>();
  readonly #proven = new Map<number, Proven>();
  /** Of each HELLO that was believed: nobody says it again. */
  readonly #publicKeys = new Set<string>();
  #complete = Promise.withResolvers<readonly SourceChannel[]>();
  #mayReconnect = false;
  /** Whether somebody waits for the channels that take the lost ones' place. */
  #isAwaited = false;
  #closed = false;

  /** @param onRefused is called for every connection that is refused */
  constructor(settings: SourceServerSettings, silence: Silence, onRefused: (reason: string) => void) {
    this.#settings = settings;
    this.#silence = silence;
    this.#onRefused = onRefused;
    this.#complete.promise.catch(() => {});
    this.#server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket));
  }

  /** Opens the port; answers its number. @throws when the address is not this machine's */
  async listen(): Promise<number> {
    const { listenAddress } = this.#settings;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', (cause) => {
      const problem = `opening the data port on ${listenAddress}: ${cause.message}`;
      reject(new Error(`${problem}; name an address of this machine`, { cause }));
    });
    this.#server.listen({ host: listenAddress, port: 0 }, resolve);
    await promise;
    return (this.#server.address() as AddressInfo).port;
  }

  /** All channels in their order, when the last of them is welcomed. */
  get channels(): Promise<readonly SourceChannel[]> {
    return this.#complete.promise;
  }

  /**
   * From now on the destination may open a channel again in place of one that it has lost, whether this side
   * has noticed or not. It is not welcomed before `reconnected` is asked: until RESUMED has come, or the witness
   * has spoken, nobody could serve it.
   */
  allowReconnect(): void {
    this.#mayReconnect = true;
  }

  /**
   * All channels again, when each of those that were lost has another in its place. They are welcomed
   * together, and not before this is asked: what the destination says then is heard.
   */
  reconnected(): Promise<readonly SourceChannel[]> {
    this.#complete = Promise.withResolvers();
    this.#isAwaited = true;
    this.#whenComplete();
    return this.#complete.promise;
  }

  /**
   * Closes the port, and every connection that is no channel. The channels live on: they are their owner's.
   */
  close(): void {
    this.#closed = true;
    this.#server.close();
    for (const channel of this.#pending) channel.lose(new Error('the migration is over'));
  }

  #onConnection(accepted: Socket): void {
    const { ticket, sealing } = this.#settings;
    const isTls = sealing.encryption === Encryption.ENCRYPTION_TLS;
    const socket = isTls ? acceptTls(accepted, ticket) : accepted;
    const channel = new SourceChannel(socket, this.#silence);
    // Whoever waits longest without a word makes room: the destination says HELLO at once.
    if (this.#pending.size >= MOVER_LIMITS.pendingConnectionsMax) {
      const [oldest] = this.#pending;
      oldest?.lose(new Error('too many connections without a HELLO'));
    }
    this.#pending.add(channel);
    const late = setTimeout(() => channel.lose(new Error('no HELLO came in time')), DEADLINES_MS.query);
    channel.onLost((error) => {
      clearTimeout(late);
      if (this.#pending.delete(channel) && !this.#closed) {
        this.#onRefused(`connection from ${channel.remoteAddress}: ${error.message}`);
      }
    });
    channel.answer('HELLO', (hello) => {
      clearTimeout(late);
      channel.answer('HELLO', undefined);
      try {
        this.#admit(this.#prove(channel, hello, channelBinding(socket)), hello.channel);
      } catch (error) {
        channel.lose(new Error(errorText(error)));
      }
    });
  }

  /**
   * Believes a HELLO, and from then on hears sealed records only.
   *
   * @throws when it is not to be believed, or is not for a channel of this migration
   */
  #prove(channel: SourceChannel, hello: Body<'HELLO'>, binding: Uint8Array): Proven {
    const { ticket, sealing, pageCount, channelCount } = this.#settings;
    if (hello.migration !== ticket.migration) throw new Error('HELLO names another migration');
    // What was set up in time may be made good for as long as both hosts hold it.
    const expired = this.#mayReconnect ? undefined : expiryProblem(ticket, Date.now());
    if (expired !== undefined) throw new Error(expired);
    const { encryption } = sealing;
    const terms = { ticket, encryption, channel: hello.channel, pageCount: hello.pageCount, binding };
    const { welcome, keys } = answerHello(terms, hello);
    const publicKey = Buffer.from(hello.publicKey).toString('base64');
    if (this.#publicKeys.has(publicKey)) throw new Error('HELLO is the repetition of an earlier one');
    if (this.#publicKeys.size >= SEALING_LIMITS.handshakesMax) throw new Error('HELLO was said too often');
    this.#publicKeys.add(publicKey);
    if (hello.pageCount !== pageCount)
      throw new Error(`HELLO speaks of ${hello.pageCount} pages, not of ${pageCount}`);
    if (hello.channel >= channelCount)
      throw new Error(`there is no channel ${hello.channel} of ${channelCount}`);
    if (this.#proven.has(hello.channel) && !this.#mayReconnect)
      throw new Error(`channel ${hello.channel} is there already`);
    const ends = sealing.ends(keys);
    if (ends !== undefined) channel.hearSealed(ends);
    return { channel, greeting: welcome, ends };
  }

  #admit(proven: Proven, index: number): void {
    const { channel } = proven;
    this.#pending.delete(channel);
    this.#proven.get(index)?.channel.lose(new Error('the destination has connected again'));
    this.#proven.set(index, proven);
    channel.onLost((error) => {
      if (!this.#mayReconnect) this.#complete.reject(error);
      if (this.#proven.get(index) === proven) this.#proven.delete(index);
    });
    if (!this.#mayReconnect) welcome(proven);
    this.#whenComplete();
  }

  #whenComplete(): void {
    if (this.#proven.size < this.#settings.channelCount) return;
    if (this.#mayReconnect && !this.#isAwaited) return;
    this.#isAwaited = false;
    const inOrder = [...this.#proven].toSorted(([left], [right]) => left - right);
    if (this.#mayReconnect) for (const [, proven] of inOrder) welcome(proven);
    this.#complete.resolve(inOrder.map(([, { channel }]) => channel));
  }
}

function welcome({ channel, greeting, ends }: Proven): void {
  channel.welcome(greeting, ends);
}
