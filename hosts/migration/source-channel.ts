/**
 * One accepted connection at the source: frames out through a ChannelSender, frames of control in. What comes
 * in must be expected: somebody waits for just that frame. Everything else is a violation, and ends the
 * connection.
 */

import type { Socket } from 'node:net';
import type { Greeting } from '../transform/encryption/handshake.ts';
import type { SealedEnds } from '../transform/encryption/sealing.ts';
import { isTlsViolation } from '../transform/encryption/tls.ts';
import { ChannelReceiver, WireViolation } from './channel-receiver.ts';
import { ChannelSender } from './channel-sender.ts';
import { FrameDecoder } from './frame-decoder.ts';
import type { Silence } from './silence.ts';
import type { Body, ControlFrame, ControlType } from './wire.ts';

export class SourceChannel {
  readonly sender: ChannelSender;
  /** Frames that may come at any time from now on, and what to do with them. */
  readonly #answers = new Map<ControlType, (frame: ControlFrame) => void>();
  /** Frames that may come once. */
  readonly #expected = new Map<ControlType, PromiseWithResolvers<ControlFrame>>();
  readonly #socket: Socket;
  readonly #receiver: ChannelReceiver;
  readonly #lostListeners: ((error: Error) => void)[] = [];
  #lost: Error | undefined;

  constructor(socket: Socket, silence: Silence) {
    this.#socket = socket;
    this.sender = new ChannelSender(socket, silence);
    this.#receiver = new ChannelReceiver(new FrameDecoder('destination'), {
      received: () => silence.touch(),
      place: ({ type }) => {
        throw new WireViolation(`${type} came with a payload`);
      },
      // The destination may send no pages: the decoder has no geometry.
      frame: (frame) => this.#onFrame(frame as ControlFrame),
      failed: (error) => this.lose(error),
    });
    socket.on('data', (chunk) => this.#receiver.push(chunk));
    const advice = 'migrate again when that host and the network between are up';
    socket.on('error', (error) => {
      const problem = `the data connection to the destination was lost (${error.message}); ${advice}`;
      this.lose(isTlsViolation(error) ? new WireViolation(problem) : new Error(problem));
    });
    socket.on('close', () => this.lose(new Error(`the destination closed the data connection; ${advice}`)));
  }

  get remoteAddress(): string {
    return `${this.#socket.remoteAddress ?? 'unknown'}:${this.#socket.remotePort ?? 0}`;
  }

  /** From now on frames are heard in sealed records only; HELLO is being dealt with. */
  hearSealed({ opener }: SealedEnds): void {
    this.#receiver.seal(opener);
  }

  /** Says WELCOME; what follows leaves in sealed records. */
  welcome(greeting: Greeting, ends: SealedEnds | undefined): void {
    this.sender.send('WELCOME', greeting);
    if (ends !== undefined) this.sender.seal(ends.sealer);
  }

  /**
   * The next frame of this type, which may come from now on, once. To be called before what it answers is
   * sent.
   */
  expect<T extends ControlType>(type: T): Promise<Body<T>> {
    const expected = Promise.withResolvers<ControlFrame>();
    if (this.#lost !== undefined) expected.reject(this.#lost);
    else this.#expected.set(type, expected);
    const body = expected.promise.then((frame) => frame.body as Body<T>);
    // Nobody may be waiting yet when the connection is lost; who comes later still learns it.
    body.catch(() => {});
    return body;
  }

  /** From now on frames of this type are answered by `handler`; undefined forbids them again. */
  answer<T extends ControlType>(type: T, handler: ((body: Body<T>) => void) | undefined): void {
    if (handler === undefined) this.#answers.delete(type);
    else this.#answers.set(type, ({ body }) => handler(body as Body<T>));
  }

  /** Calls `listener` once when the connection is lost, for whatever reason: a WireViolation was refused. */
  onLost(listener: (error: Error) => void): void {
    if (this.#lost !== undefined) listener(this.#lost);
    else this.#lostListeners.push(listener);
  }

  /** Ends the connection; whoever waits for something on it is told this reason. */
  lose(error: Error): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#receiver.stop();
    this.sender.lose(error);
    for (const { reject } of this.#expected.values()) reject(error);
    for (const listener of this.#lostListeners) listener(error);
    // Last: when the other side sees the end, it has been counted.
    this.#socket.destroy();
  }

  /** Ends the connection after everything sent has left. */
  end(): void {
    this.#socket.end();
  }

  #onFrame(frame: ControlFrame): void {
    const answer = this.#answers.get(frame.type);
    if (answer !== undefined) {
      answer(frame);
      return;
    }
    const expected = this.#expected.get(frame.type);
    if (expected === undefined) {
      this.lose(new WireViolation(`${frame.type} is not allowed now`));
      return;
    }
    this.#expected.delete(frame.type);
    expected.resolve(frame);
  }
}
