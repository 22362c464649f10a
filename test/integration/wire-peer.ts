/**
 * One end of a migration's connection that says what a test wants, true or not, and hears what the other end
 * says.
 */

import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import { FrameDecoder } from '../../hosts/migration/frame-decoder.ts';
import {
  type Body,
  type CodedFrame,
  type ControlFrame,
  type ControlType,
  encodeCoded,
  encodeControl,
  encodePages,
  type Frame,
  type FrameType,
  HEADER,
  type PageRun,
  type Side,
} from '../../hosts/migration/wire.ts';
import { PAGE_BYTES } from '../../proto/page.ts';

export class WirePeer {
  readonly socket: Socket;
  /** The sequence number of the next frame; a liar may change it. */
  sequence = 0;
  readonly closed: Promise<void>;
  readonly #decoder: FrameDecoder;
  readonly #heard: Frame[] = [];
  #missingBytes = 0;
  #wake = (): void => {};

  /** @param other which side the other end plays */
  constructor(socket: Socket, other: Side, pageCount: number) {
    this.socket = socket;
    this.#decoder = new FrameDecoder(other, { pageCount, channel: 0, channelCount: 1 });
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#onData(chunk));
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve());
    });
  }

  say<T extends ControlType>(type: T, body: Body<T>, payload = Buffer.alloc(0)): void {
    const head = encodeControl(type, body, this.sequence++, payload.byteLength);
    this.socket.write(Buffer.concat([head, payload]));
  }

  /** PAGES with a payload of ones. */
  sayPages(...runs: PageRun[]): void {
    const pages = runs.reduce((sum, { pageCount, kind }) => sum + (kind === 1 ? pageCount : 0), 0);
    this.socket.write(Buffer.concat([this.pagesHead(...runs), Buffer.alloc(pages * PAGE_BYTES, 1)]));
  }

  /** CODED with a payload that may be what the head says. */
  sayCoded(frame: Omit<CodedFrame, 'type' | 'payloadBytes'>, payload: Uint8Array): void {
    const head = encodeCoded({ ...frame, payloadBytes: payload.byteLength }, this.sequence++);
    this.socket.write(Buffer.concat([head, payload]));
  }

  /** What announces pages that a liar may then not send. */
  pagesHead(...runs: PageRun[]): Buffer {
    return encodePages(runs, this.sequence++);
  }

  /** A frame with one field of its header changed and the checksum put right. */
  sayForged<T extends ControlType>(type: T, body: Body<T>, field: keyof typeof HEADER, value: number): void {
    const head = encodeControl(type, body, this.sequence++);
    head.writeUInt32LE(value, HEADER[field]);
    head.writeUInt32LE(crc32(head.subarray(0, HEADER.checksum)), HEADER.checksum);
    this.socket.write(head);
  }

  /** The next frame of this type; others before it are passed over. */
  async hear<T extends FrameType>(type: T): Promise<Extract<ControlFrame, { type: T }>> {
    for (;;) {
      const frame = this.#heard.shift();
      if (frame?.type === type) return frame as Extract<ControlFrame, { type: T }>;
      if (frame === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #onData(chunk: Buffer): void {
    let rest = chunk;
    while (rest.byteLength > 0) {
      if (this.#missingBytes > 0) {
        const skipped = Math.min(this.#missingBytes, rest.byteLength);
        this.#missingBytes -= skipped;
        rest = rest.subarray(skipped);
        continue;
      }
      const space = this.#decoder.space();
      const count = Math.min(space.byteLength, rest.byteLength);
      space.set(rest.subarray(0, count));
      this.#decoder.filled(count);
      rest = rest.subarray(count);
      this.#readHeads();
    }
  }

  #readHeads(): void {
    while (this.#missingBytes === 0) {
      const decoded = this.#decoder.next();
      if (decoded.kind !== 'frame') return;
      const { payloadBytes } = decoded.frame;
      this.#missingBytes = payloadBytes - this.#decoder.take(Buffer.alloc(payloadBytes));
      this.#heard.push(decoded.frame);
      this.#wake();
    }
  }
}
