/**
 * Reads sealed records out of a byte stream, however it was cut into pieces: need-more, the bytes that a whole
 * record held, or malformed with the reason. Nothing of a record is given out before its tag has proven all
 * of it. It knows no socket and never throws; what is malformed once stays so.
 *
 * The caller reads into `space()`, says how much with `filled()`, and asks `next()` until it needs more.
 */

import { crc32 } from 'node:zlib';
import type { TransformMeasure } from '../transform-measure.ts';
import { SEALING_LIMITS } from './limits.ts';
import type { RecordCipher } from './record-cipher.ts';
import { LENGTH_BYTES } from './record-sealer.ts';

export type Opened =
  | { readonly kind: 'need-more' }
  /** The memory is the caller's, who gives it back. */
  | { readonly kind: 'record'; readonly bytes: Uint8Array }
  | { readonly kind: 'malformed'; readonly reason: string };

const NEED_MORE: Opened = { kind: 'need-more' };
const { prefixBytes, tagBytes, lookaheadBytes } = SEALING_LIMITS;

export class RecordOpener {
  readonly #cipher: RecordCipher;
  readonly #lengthMax: number;
  readonly #measure: TransformMeasure;
  readonly #buffer: Buffer;
  /** A record begins at the first, and what was read ends at the second. */
  #start = 0;
  #end = 0;
  #index = 0;
  #fault: Opened | undefined;

  /** @param recordBytesMax of the stream in one record */
  constructor(cipher: RecordCipher, recordBytesMax: number, measure: TransformMeasure) {
    this.#cipher = cipher;
    this.#lengthMax = recordBytesMax + tagBytes;
    this.#measure = measure;
    this.#buffer = Buffer.allocUnsafeSlow(prefixBytes + this.#lengthMax + lookaheadBytes);
  }

  /** Where the next bytes of the stream belong: never empty after `next()` answered need-more. */
  space(): Uint8Array {
    if (this.#start > 0) {
      // Little: no more is read beyond a record's end than `lookaheadBytes`.
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    const length = this.#end < prefixBytes ? 0 : Math.min(this.#buffer.readUInt32LE(0), this.#lengthMax);
    return this.#buffer.subarray(this.#end, prefixBytes + length + lookaheadBytes);
  }

  /** So many bytes were put into `space()`. */
  filled(byteCount: number): void {
    this.#end += byteCount;
  }

  /** What the next record holds, if it is there. */
  next(): Opened {
    if (this.#fault !== undefined) return this.#fault;
    const available = this.#end - this.#start;
    if (available < prefixBytes) return NEED_MORE;
    const length = this.#buffer.readUInt32LE(this.#start);
    const checksum = crc32(this.#buffer.subarray(this.#start, this.#start + LENGTH_BYTES));
    if (checksum !== this.#buffer.readUInt32LE(this.#start + LENGTH_BYTES)) {
      return this.#fail(`the length of record ${this.#index} has a wrong checksum`);
    }
    if (length <= tagBytes || length > this.#lengthMax) {
      const allowed = `${tagBytes + 1} to ${this.#lengthMax}`;
      return this.#fail(`record ${this.#index} announces ${length} bytes; allowed are ${allowed}`);
    }
    if (available < prefixBytes + length) return NEED_MORE;
    const start = this.#start + prefixBytes;
    const record = this.#buffer.subarray(start, start + length);
    const bytes = this.#measure.during(() => this.#cipher.open(this.#index, record));
    if (bytes === undefined) {
      return this.#fail(
        `record ${this.#index} does not open: it was changed, dropped, repeated or reordered on its way, or is ` +
          'of another connection',
      );
    }
    this.#measure.bytesIn += prefixBytes + length;
    this.#measure.bytesOut += bytes.byteLength;
    this.#index++;
    this.#start = start + length;
    return { kind: 'record', bytes };
  }

  #fail(reason: string): Opened {
    this.#fault = { kind: 'malformed', reason };
    return this.#fault;
  }
}
