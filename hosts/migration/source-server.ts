/**
 * The data port of a migration at the source: an ephemeral port on which the destination's channels, and
 * whoever else finds it, connect. A connection becomes a channel by a HELLO with the migration's token;
 * anything else is refused and counted, and does not disturb the migration. The port stays open until the
 * migration ends, so that what comes late is counted too.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { Silence } from './silence.ts';
import { SourceChannel } from './source-channel.ts';
import type { Body } from './wire.ts';

export interface SourceServerSettings {
  readonly listenAddress: string;
  readonly migration: string;
  readonly token: string;
  readonly pageCount: number;
  readonly channelCount: number;
}

export class SourceServer {
  readonly #settings: SourceServerSettings;
  readonly #silence: Silence;
  readonly #onRefused: (reason: string) => void;
  readonly #server: Server;
  readonly #pending = new Set<SourceChannel>();
  readonly #welcomed = new Map<number, SourceChannel>();
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

  #onConnection(socket: Socket): void {
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
      const problem = this.#problemOf(hello);
      if (problem === undefined) this.#welcome(channel, hello.channel);
      else channel.lose(new Error(problem));
    });
  }

  #problemOf(hello: Body<'HELLO'>): string | undefined {
    const { migration, token, pageCount, channelCount } = this.#settings;
    if (hello.migration !== migration || !sameSecret(hello.token, token)) {
      return 'HELLO does not name this migration and its token';
    }
    if (hello.pageCount !== pageCount) return `HELLO speaks of ${hello.pageCount} pages, not of ${pageCount}`;
    if (hello.channel >= channelCount) return `there is no channel ${hello.channel} of ${channelCount}`;
    const isThere = this.#welcomed.has(hello.channel);
    if (isThere && !this.#mayReconnect) return `channel ${hello.channel} is there already`;
    return undefined;
  }

  #welcome(channel: SourceChannel, index: number): void {
    this.#pending.delete(channel);
    this.#welcomed.get(index)?.lose(new Error('the destination has connected again'));
    this.#welcomed.set(index, channel);
    channel.onLost((error) => {
      if (!this.#mayReconnect) this.#complete.reject(error);
      if (this.#welcomed.get(index) === channel) this.#welcomed.delete(index);
    });
    if (!this.#mayReconnect) channel.sender.send('WELCOME', {});
    this.#whenComplete();
  }

  #whenComplete(): void {
    if (this.#welcomed.size < this.#settings.channelCount) return;
    if (this.#mayReconnect && !this.#isAwaited) return;
    this.#isAwaited = false;
    const inOrder = [...this.#welcomed].toSorted(([left], [right]) => left - right);
    const channels = inOrder.map(([, welcomed]) => welcomed);
    if (this.#mayReconnect) for (const { sender } of channels) sender.send('WELCOME', {});
    this.#complete.resolve(channels);
  }
}

/** Compares without telling by its time how much of it was right. */
function sameSecret(left: string, right: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}
