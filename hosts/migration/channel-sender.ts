/**
 * One socket's sending side: numbers the frames, counts the bytes, and says when the socket has enough. A
 * head and its payload leave in one system call. The payload is not copied: it may be guest memory. From
 * `seal()` on frames leave in sealed records.
 */

import type { Socket } from 'node:net';
import { nowMs } from '../clock.ts';
import { byteCountOf, giveBack, type RecordSealer } from '../transform/encryption/record-sealer.ts';
import { wireBytesOf } from '../transform/encryption/tls.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { Silence } from './silence.ts';
import {
  type Body,
  type CodedFrame,
  type ControlType,
  encodeCoded,
  encodeControl,
  encodePages,
  type PageRun,
} from './wire.ts';

const SEQUENCES = 2 ** 32;

export class ChannelSender {
  readonly #socket: Socket;
  readonly #silence: Silence;
  #sealer: RecordSealer | undefined;
  #sequence = 0;
  #sentBytes = 0;
  #streamBytes = 0;
  #writtenBytes = 0;
  #lost: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket, silence: Silence) {
    this.#socket = socket;
    this.#silence = silence;
    socket.setNoDelay(true);
  }

  /** From now on frames leave in sealed records. */
  seal(sealer: RecordSealer): void {
    this.#sealer = sealer;
  }

  /** Bytes given to the socket since its beginning, with heads and all that sealing adds. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** The same without what TLS adds: what the other side reads. */
  get streamBytes(): number {
    return this.#streamBytes;
  }

  /** Of the sent bytes, those that the system has taken. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Whether to wait for `room()` before the next frame of pages. */
  get isFull(): boolean {
    return this.#sentBytes - this.#writtenBytes > MOVER_LIMITS.outstandingBytesMax;
  }

  /** Sends a frame of control. Never waits: such frames are few. */
  send<T extends ControlType>(type: T, body: Body<T>, payload?: Uint8Array): void {
    this.#sendFrame(encodeControl(type, body, this.#takeSequence(), payload?.byteLength), payload);
  }

  /**
   * Sends pages.
   *
   * @param payload the pages of the data runs, in their order; not to be changed before `written` is called,
   *   unless it is guest memory
   */
  sendPages(runs: readonly PageRun[], payload: Uint8Array | undefined, written?: () => void): void {
    this.#sendFrame(encodePages(runs, this.#takeSequence()), payload, written);
  }

  /** Sends a frame of pages that transforms have made less of. @param payload as in `sendPages` */
  sendCoded(frame: Omit<CodedFrame, 'type'>, payload: Uint8Array, written: () => void): void {
    this.#sendFrame(encodeCoded(frame, this.#takeSequence()), payload, written);
  }

  /**
   * Waits until the socket has taken enough for more. Other events of the thread get their turn meanwhile.
   *
   * @throws when the connection is lost, or takes nothing for too long
   */
  async room(): Promise<void> {
    await new Promise(setImmediate);
    while (this.isFull) await this.#progress();
  }

  /** Waits until everything sent so far has been given to the system; answers when that was so. */
  async flushed(): Promise<number> {
    const target = this.#sentBytes;
    while (this.#writtenBytes < target) await this.#progress();
    return nowMs();
  }

  /** The connection is lost: every wait ends with this error. */
  lose(error: Error): void {
    this.#lost ??= error;
    this.#wake?.();
  }

  async #progress(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const others = this.#wake;
    this.#wake = (): void => {
      others?.();
      resolve();
    };
    if (this.#lost === undefined) await this.#silence.during('room for more pages', promise);
    if (this.#lost !== undefined) throw this.#lost;
  }

  #takeSequence(): number {
    const sequence = this.#sequence;
    this.#sequence = (sequence + 1) % SEQUENCES;
    return sequence;
  }

  #sendFrame(head: Buffer, payload: Uint8Array | undefined, written?: () => void): void {
    const hasPayload = payload !== undefined && payload.byteLength > 0;
    if (this.#sealer === undefined) {
      this.#write(hasPayload ? [head, payload] : [head], hasPayload, written);
      return;
    }
    for (const record of this.#sealer.seal(head, hasPayload ? payload : undefined)) {
      this.#write(record, hasPayload, (error) => {
        // After an error nobody knows whether the system still reads it.
        if (!error) record.forEach(giveBack);
      });
      // The system has taken all of it already: the next record is to come in the same memory, which the
      // processor has at hand.
      if (this.#socket.writableLength === 0) record.forEach(giveBack);
    }
    // What was sealed is another's memory.
    written?.();
  }

  /** @param isSign whether it is so much that it tells of the other side when it has left */
  #write(
    pieces: readonly Uint8Array[],
    isSign: boolean,
    written?: (error: Error | null | undefined) => void,
  ): void {
    const streamBytes = byteCountOf(pieces);
    const byteCount = wireBytesOf(this.#socket, streamBytes);
    this.#streamBytes += streamBytes;
    this.#sentBytes += byteCount;
    // An error comes with the socket's close as well, which is where it is dealt with.
    const done = (error?: Error | null): void => {
      this.#writtenBytes += byteCount;
      // A head alone, like ALIVE's, is taken by this system: it says nothing of the other one.
      if (isSign) this.#silence.touch();
      written?.(error);
      const wake = this.#wake;
      this.#wake = undefined;
      wake?.();
    };
    this.#socket.cork();
    for (const piece of pieces.slice(0, -1)) this.#socket.write(piece);
    this.#socket.write(pieces.at(-1) as Uint8Array, done);
    this.#socket.uncork();
  }
}
