/**
 * The receiving side of one channel. The socket reads where this class says: heads into the decoder's small
 * buffer, a payload straight to its place, which for a long run of pages is guest memory. So a page's bytes are
 * copied once, by the system. Node offers this (`onread`) for sockets opened with `connect` only, which is why
 * the destination dials; the source, which hears little, pushes what came.
 *
 * From `seal()` on everything comes in sealed records: the socket reads those into the opener's buffer, and what
 * a record held goes to the same places once it is proven.
 */

import type { RecordOpener } from '../transform/encryption/record-opener.ts';
import { giveBack } from '../transform/encryption/record-sealer.ts';
import type { FrameDecoder } from './frame-decoder.ts';
import type { Frame } from './wire.ts';

/** What came is not allowed: by the wire format, or now. */
export class WireViolation extends Error {}

export interface ReceiverHooks {
  /** Bytes arrived. */
  received(byteCount: number): void;
  /**
   * Where the payload of a frame belongs, as many bytes as it announces. Throws WireViolation to refuse it.
   */
  place(frame: Frame): Uint8Array;
  /** A frame is here, its payload in its place. Throws WireViolation to refuse it. */
  frame(frame: Frame, payload: Uint8Array): void;
  /** Something was refused, or could not be done: nothing that follows is read. */
  failed(error: Error): void;
}

const NO_PAYLOAD = new Uint8Array(0);

export class ChannelReceiver {
  /** To be given to `net.connect`. */
  readonly onread: { buffer: () => Uint8Array; callback: (byteCount: number, buffer: Uint8Array) => boolean };
  readonly #decoder: FrameDecoder;
  readonly #hooks: ReceiverHooks;
  #opener: RecordOpener | undefined;
  #frame: Frame | undefined;
  #payload: Uint8Array = NO_PAYLOAD;
  #filledBytes = 0;
  #isStopped = false;

  constructor(decoder: FrameDecoder, hooks: ReceiverHooks) {
    this.#decoder = decoder;
    this.#hooks = hooks;
    this.onread = {
      buffer: () => this.#opener?.space() ?? this.#target(),
      callback: (byteCount) => this.#onRead(byteCount),
    };
  }

  /** Deals with bytes that the socket has read elsewhere. */
  push(chunk: Uint8Array): void {
    for (let start = 0; start < chunk.byteLength && !this.#isStopped; ) {
      const byteCount = copyInto(this.onread.buffer(), chunk, start);
      start += byteCount;
      this.#onRead(byteCount);
    }
  }

  /** What follows the frame that is dealt with now comes in sealed records. It has no payload. */
  seal(opener: RecordOpener): void {
    const early = this.#decoder.rest();
    opener.filled(copyInto(opener.space(), early, 0));
    this.#opener = opener;
  }

  /** Deals with nothing that follows. */
  stop(): void {
    this.#isStopped = true;
  }

  #onRead(byteCount: number): boolean {
    if (this.#isStopped) return false;
    this.#hooks.received(byteCount);
    try {
      if (this.#opener === undefined) this.#onBytes(byteCount);
      else this.#opener.filled(byteCount);
      if (this.#opener !== undefined) this.#openRecords(this.#opener);
      return !this.#isStopped;
    } catch (error) {
      this.stop();
      this.#hooks.failed(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  }

  #openRecords(opener: RecordOpener): void {
    while (!this.#isStopped) {
      const opened = opener.next();
      if (opened.kind === 'need-more') return;
      if (opened.kind === 'malformed') throw new WireViolation(opened.reason);
      for (let start = 0; start < opened.bytes.byteLength && !this.#isStopped; ) {
        const byteCount = copyInto(this.#target(), opened.bytes, start);
        start += byteCount;
        this.#onBytes(byteCount);
      }
      giveBack(opened.bytes);
    }
  }

  /** Where the next bytes of frames belong. */
  #target(): Uint8Array {
    return this.#frame === undefined ? this.#decoder.space() : this.#payload.subarray(this.#filledBytes);
  }

  /** So many of them are there. */
  #onBytes(byteCount: number): void {
    if (this.#frame === undefined) this.#decoder.filled(byteCount);
    else this.#onPayload(this.#frame, byteCount);
    if (this.#frame === undefined) this.#readHeads();
  }

  /** Deals with every frame that is whole, up to one whose payload is still to come. */
  #readHeads(): void {
    while (!this.#isStopped) {
      const decoded = this.#decoder.next();
      if (decoded.kind === 'need-more') return;
      if (decoded.kind === 'malformed') throw new WireViolation(decoded.reason);
      const { frame } = decoded;
      this.#payload = frame.payloadBytes === 0 ? NO_PAYLOAD : this.#hooks.place(frame);
      this.#frame = frame;
      this.#filledBytes = 0;
      this.#onPayload(frame, this.#decoder.take(this.#payload));
      if (this.#frame !== undefined) return;
    }
  }

  #onPayload(frame: Frame, byteCount: number): void {
    this.#filledBytes += byteCount;
    if (this.#filledBytes < this.#payload.byteLength) return;
    this.#frame = undefined;
    this.#hooks.frame(frame, this.#payload);
  }
}

/** As much of `bytes` from `start` on as fits; answers how much that was. */
function copyInto(space: Uint8Array, bytes: Uint8Array, start: number): number {
  const end = Math.min(bytes.byteLength, start + space.byteLength);
  space.set(bytes.subarray(start, end));
  return end - start;
}
