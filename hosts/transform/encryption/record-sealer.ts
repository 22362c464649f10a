/**
 * Cuts a stream of frames into sealed records: length and its crc32, sealed bytes, tag. A frame begins a record,
 * and goes on in the next where it is larger than one may be.
 */

import { crc32 } from 'node:zlib';
import type { TransformMeasure } from '../transform-measure.ts';
import { SEALING_LIMITS } from './limits.ts';
import type { RecordCipher } from './record-cipher.ts';

export const LENGTH_BYTES = 4;

export class RecordSealer {
  readonly #cipher: RecordCipher;
  readonly #recordBytesMax: number;
  readonly #measure: TransformMeasure;
  #index = 0;

  /** @param recordBytesMax of the stream in one record: what the other end's opener takes */
  constructor(cipher: RecordCipher, recordBytesMax: number, measure: TransformMeasure) {
    this.#cipher = cipher;
    this.#recordBytesMax = recordBytesMax;
    this.#measure = measure;
  }

  /**
   * The records of one frame, each in pieces that are to be written one behind the other. Each is sealed when it
   * is asked for.
   *
   * @param head not larger than a record
   */
  *seal(head: Uint8Array, payload?: Uint8Array): Generator<Uint8Array[]> {
    const payloadBytes = payload?.byteLength ?? 0;
    let end = Math.min(payloadBytes, this.#recordBytesMax - head.byteLength);
    yield this.#record(payload === undefined || end === 0 ? [head] : [head, payload.subarray(0, end)]);
    while (payload !== undefined && end < payloadBytes) {
      const start = end;
      end = Math.min(payloadBytes, start + this.#recordBytesMax);
      yield this.#record([payload.subarray(start, end)]);
    }
  }

  #record(parts: readonly Uint8Array[]): Uint8Array[] {
    const pieces = this.#measure.during(() => this.#cipher.seal(this.#index++, parts));
    const sealedBytes = byteCountOf(pieces);
    const prefix = prefixOf(sealedBytes);
    this.#measure.bytesIn += byteCountOf(parts);
    this.#measure.bytesOut += prefix.byteLength + sealedBytes;
    return [prefix, ...pieces];
  }
}

/** What stands in front of a record: its length, and a checksum by which a damaged one is not waited for. */
function prefixOf(length: number): Buffer {
  const prefix = Buffer.allocUnsafe(SEALING_LIMITS.prefixBytes);
  prefix.writeUInt32LE(length);
  prefix.writeUInt32LE(crc32(prefix.subarray(0, LENGTH_BYTES)), LENGTH_BYTES);
  return prefix;
}

/** Bytes of several pieces together. */
export function byteCountOf(pieces: readonly Uint8Array[]): number {
  let sum = 0;
  for (const { byteLength } of pieces) sum += byteLength;
  return sum;
}

/**
 * Gives a piece's memory back at once. Waiting for the garbage collector would have every record written to
 * memory that is not in the cache, which halves the rate (docs/performance.md).
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  // What shares its memory with others is left alone.
  if (byteLength < SEALING_LIMITS.givenBackBytesMin || !(buffer instanceof ArrayBuffer)) return;
  if (buffer.byteLength === byteLength) buffer.transfer(0);
}
