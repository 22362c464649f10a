/**
 * The connection of a guest's host to the forwarder, from its hello on: frames in, requests out.
 */

import type { Socket } from 'node:net';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import {
  decodeHostFrame,
  encodeFrame,
  FORWARDER_FRAME_BYTES_MAX,
  FORWARDER_TEXT_BYTES_MAX,
  type ForwarderFrame,
  flowInstance,
  flowNumber,
  flowOf,
  type HostFrame,
} from '../proto/forwarder-wire.ts';
import { MessageSplitter, SplitEnd, sendMessage } from '../proto/message-stream.ts';
import type { RequestSink } from './request-table.ts';

/** The guest that a host speaks for, as its connection sees it. */
export interface GuestEnd {
  joined(line: HostLine): void;
  announced(line: HostLine, epoch: bigint): void;
  withdrawn(line: HostLine): void;
  ended(line: HostLine): void;
  taken(line: HostLine, number: number): void;
  answer(number: number, message: Buffer): void;
  gone(line: HostLine): void;
}

type Hello = Extract<HostFrame, { kind: 'hello' }>;

export class HostLine implements RequestSink {
  /** "address:port" of the host's end. */
  readonly peer: string;
  readonly #socket: Socket;
  readonly #instance: Buffer;
  readonly #greet: (hello: Hello) => GuestEnd | string;
  readonly #timer: NodeJS.Timeout;
  #guest: GuestEnd | undefined;

  /**
   * @param instance this forwarder's eight bytes
   * @param greet answers whose host it is, or why it is refused
   */
  constructor(socket: Socket, instance: Buffer, greet: (hello: Hello) => GuestEnd | string) {
    this.#socket = socket;
    this.#instance = instance;
    this.#greet = greet;
    this.peer = `${socket.remoteAddress}:${socket.remotePort}`;
    this.#timer = setTimeout(() => socket.destroy(), DEADLINES_MS.dataConnect);
    const splitter = new MessageSplitter(FORWARDER_FRAME_BYTES_MAX);
    socket.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      for (let bytes = splitter.next(); bytes !== SplitEnd.NEED_MORE; bytes = splitter.next()) {
        const frame = bytes === SplitEnd.MALFORMED ? undefined : decodeHostFrame(bytes);
        if (frame === undefined) {
          this.#refuse('that is no frame of a host');
          return;
        }
        this.#handle(frame);
        if (socket.destroyed || socket.writableEnded) return;
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(this.#timer);
      this.#guest?.gone(this);
    });
  }

  send(number: number, message: Buffer): void {
    this.#say({ kind: 'request', flow: flowOf(number, this.#instance), message });
  }

  close(): void {
    this.#socket.destroy();
  }

  #say(frame: ForwarderFrame): void {
    sendMessage(this.#socket, encodeFrame(frame));
  }

  #refuse(reason: string): void {
    this.#say({ kind: 'refused', reason: reason.slice(0, FORWARDER_TEXT_BYTES_MAX / 4) });
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #handle(frame: HostFrame): void {
    if (frame.kind === 'hello') this.#hello(frame);
    else if (this.#guest === undefined) this.#refuse('it did not say whose host it is');
    else this.#tell(this.#guest, frame);
  }

  #hello(frame: Hello): void {
    const guest = this.#guest === undefined ? this.#greet(frame) : 'it said twice whose host it is';
    if (typeof guest === 'string') {
      this.#refuse(guest);
      return;
    }
    clearTimeout(this.#timer);
    this.#guest = guest;
    guest.joined(this);
    this.#say({ kind: 'welcome' });
  }

  #tell(guest: GuestEnd, frame: Exclude<HostFrame, Hello>): void {
    switch (frame.kind) {
      case 'announce':
        guest.announced(this, frame.epoch);
        return;
      case 'withdraw':
        guest.withdrawn(this);
        return;
      case 'end':
        guest.ended(this);
        return;
      case 'taken':
        guest.taken(this, frame.number);
        return;
      case 'response': {
        const number = flowNumber(frame.flow);
        // What another forwarder asked, before this one, has nobody here to go to.
        const isOurs = flowInstance(frame.flow).equals(this.#instance);
        if (number !== undefined && isOurs) guest.answer(number, frame.message);
      }
    }
  }
}
