/**
 * The destination's receiving side of one channel. The socket reads where this class says: heads into the
 * decoder's small buffer, a payload straight to its place, which for a long run of pages is guest memory. So
 * a page's bytes are copied once, by the system.
 *
 * Node offers this (`onread`) for sockets opened with `connect` only, which is why the destination dials.
 */

import { FrameDecoder } from './frame-decoder.ts';
import type { ChannelGeometry } from './page-runs.ts';
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
  #frame: Frame | undefined;
  #payload: Uint8Array = NO_PAYLOAD;
  #filledBytes = 0;
  #failed = false;

  constructor(geometry: ChannelGeometry, hooks: ReceiverHooks) {
    this.#decoder = new FrameDecoder('source', geometry);
    this.#hooks = hooks;
    this.onread = {
      buffer: () =>
        this.#frame === undefined ? this.#decoder.space() : this.#payload.subarray(this.#filledBytes),
      callback: (byteCount) => this.#onRead(byteCount),
    };
  }

  #onRead(byteCount: number): boolean {
    if (this.#failed) return false;
    this.#hooks.received(byteCount);
    try {
      if (this.#frame === undefined) this.#decoder.filled(byteCount);
      else this.#onPayload(this.#frame, byteCount);
      if (this.#frame === undefined) this.#readHeads();
      return true;
    } catch (error) {
      this.#failed = true;
      this.#hooks.failed(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  }

  /** Deals with every frame that is whole, up to one whose payload is still to come. */
  #readHeads(): void {
    for (;;) {
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
