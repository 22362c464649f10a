/**
 * Messages in a stream of bytes: each after its length, a uint32 (little-endian) that does not count itself. So
 * clients speak to a guest over TCP, and a forwarder to the hosts behind it.
 */

import type { Socket } from 'node:net';

const LENGTH_BYTES = 4;

/** What there is instead of a message. */
export const SplitEnd = {
  /** The rest has not come yet. */
  NEED_MORE: 'need-more',
  /** A length that nobody may send; nothing that follows can be read. */
  MALFORMED: 'malformed',
} as const;
export type SplitEnd = (typeof SplitEnd)[keyof typeof SplitEnd];

const NOTHING = Buffer.alloc(0);

/** Takes a stream apart. Holds what was pushed and not yet taken, and nothing else. */
export class MessageSplitter {
  readonly #bytesMax: number;
  #bytes: Buffer = NOTHING;
  #offset = 0;

  /** @param bytesMax the longest message that is allowed; the shortest has one byte */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The next bytes of the stream; they may not change until they have been taken. */
  push(chunk: Buffer): void {
    const rest = this.#bytes.subarray(this.#offset);
    this.#bytes = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    this.#offset = 0;
  }

  /** The next message, a view of what was pushed. */
  next(): Buffer | SplitEnd {
    const begin = this.#offset + LENGTH_BYTES;
    if (begin > this.#bytes.byteLength) return SplitEnd.NEED_MORE;
    const length = this.#bytes.readUInt32LE(this.#offset);
    if (length < 1 || length > this.#bytesMax) return SplitEnd.MALFORMED;
    if (begin + length > this.#bytes.byteLength) return SplitEnd.NEED_MORE;
    this.#offset = begin + length;
    return this.#bytes.subarray(begin, this.#offset);
  }
}

/** The parts of a message as one, after its length. */
export function withLength(...parts: readonly Uint8Array[]): Buffer {
  const length = Buffer.allocUnsafe(LENGTH_BYTES);
  length.writeUInt32LE(parts.reduce((sum, part) => sum + part.byteLength, 0));
  return Buffer.concat([length, ...parts]);
}

/** Sends a message. What is sent in one turn goes in one packet. */
export function sendMessage(socket: Socket, message: Uint8Array): void {
  if (socket.writableCorked === 0) {
    socket.cork();
    process.nextTick(() => socket.uncork());
  }
  socket.write(withLength(message));
}
