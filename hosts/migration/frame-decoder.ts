/**
 * Reads heads of frames out of a byte stream, however it was cut into pieces: need-more, a frame, or
 * malformed with the reason. It knows no socket and never throws; what is malformed once stays so, since
 * nothing behind it can be trusted.
 *
 * The caller reads into `space()`, says how much with `filled()`, and asks `next()` until it needs more. The
 * payload behind a head is the caller's: what was read of it already comes with `take()`, the rest is read to
 * its place.
 *
 * The limits are checked before anything is read or reserved for a length, the checksums before a table is
 * believed.
 */

import { crc32 } from 'node:zlib';
import { PAGE_BYTES } from '../../proto/page.ts';
import { WIRE_LIMITS } from './limits.ts';
import { type ChannelGeometry, decodeCoded, decodeRuns, PLAIN_KINDS } from './page-runs.ts';
import {
  type Body,
  type ControlFrame,
  type ControlType,
  type Field,
  FRAMES,
  type Frame,
  type FrameType,
  frameTypeOf,
  HEADER,
  HEADER_BYTES,
  messagePack,
  pagesOfKind,
  RunKind,
  type Side,
  WIRE_MAGIC,
  WIRE_VERSION,
} from './wire.ts';

export type Decoded =
  | { readonly kind: 'need-more' }
  | { readonly kind: 'frame'; readonly frame: Frame }
  | { readonly kind: 'malformed'; readonly reason: string };

/** Room for the largest head twice, so that a short read seldom cuts one. */
const BUFFER_BYTES = 4096;
const SEQUENCES = 2 ** 32;
const NEED_MORE: Decoded = { kind: 'need-more' };

const malformed = (reason: string): Decoded => ({ kind: 'malformed', reason });

export class FrameDecoder {
  readonly #from: Side;
  readonly #geometry: ChannelGeometry | undefined;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #start = 0;
  #end = 0;
  #sequence = 0;
  /**
   * Bytes of the last frame's payload that have not been taken from the buffer or skipped by `expectHead`.
   */
  #payloadBytes = 0;
  #fault: Decoded | undefined;

  /**
   * @param from who writes this stream
   * @param geometry the pages that may come on it; without it no page may
   */
  constructor(from: Side, geometry?: ChannelGeometry) {
    this.#from = from;
    this.#geometry = geometry;
  }

  /** Where the next bytes of the stream belong: never empty after `next()` answered need-more. */
  space(): Uint8Array {
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#buffer.subarray(this.#end);
  }

  /** So many bytes were put into `space()`. */
  filled(byteCount: number): void {
    this.#end += byteCount;
  }

  /**
   * Moves payload bytes that were read together with their head.
   *
   * @param target the payload's place, from its start
   * @returns how many bytes of it are there now; the caller reads the rest of it from the stream itself
   */
  take(target: Uint8Array): number {
    const byteCount = Math.min(this.#payloadBytes, this.#end - this.#start, target.byteLength);
    target.set(this.#buffer.subarray(this.#start, this.#start + byteCount));
    this.#start += byteCount;
    this.#payloadBytes = 0;
    return byteCount;
  }

  /** The next head, if it is there. The payload of the frame before has been taken. */
  next(): Decoded {
    if (this.#fault !== undefined) return this.#fault;
    const available = this.#end - this.#start;
    if (available < HEADER_BYTES) return NEED_MORE;
    const head = this.#buffer.subarray(this.#start, this.#end);
    const problem = headerProblem(head, this.#sequence);
    if (problem !== undefined) return this.#fail(problem);
    const type = frameTypeOf(head.readUInt8(HEADER.type)) as FrameType;
    const { from } = FRAMES[type];
    if (from !== 'both' && from !== this.#from) return this.#fail(`${type} came from the ${this.#from}`);
    const tableBytes = head.readUInt32LE(HEADER.tableBytes);
    if (available < HEADER_BYTES + tableBytes) return NEED_MORE;
    const table = head.subarray(HEADER_BYTES, HEADER_BYTES + tableBytes);
    if (crc32(table) !== head.readUInt32LE(HEADER.tableChecksum)) {
      return this.#fail(`the table of ${type} has a wrong checksum`);
    }
    const payloadBytes = head.readUInt32LE(HEADER.payloadBytes);
    const decoded = this.#decodeTable(type, table, payloadBytes);
    if (decoded.kind === 'malformed') return this.#fail(decoded.reason);
    this.#start += HEADER_BYTES + tableBytes;
    this.#payloadBytes = payloadBytes;
    this.#sequence = (this.#sequence + 1) % SEQUENCES;
    return decoded;
  }

  #decodeTable(type: FrameType, table: Buffer, payloadBytes: number): Decoded {
    if (type === 'PAGES') return decodePages(table, payloadBytes, this.#geometry);
    if (type === 'CODED') return decodeCodedFrame(table, payloadBytes, this.#geometry);
    return decodeControl(type, table, payloadBytes);
  }

  #fail(reason: string): Decoded {
    this.#fault = malformed(reason);
    return this.#fault;
  }
}

/** What is wrong with a header, or undefined; nothing behind its 32 bytes is looked at. */
function headerProblem(head: Buffer, sequence: number): string | undefined {
  const magic = head.readUInt32LE(HEADER.magic);
  if (magic !== WIRE_MAGIC)
    return `the magic number is 0x${magic.toString(16)}, not 0x${WIRE_MAGIC.toString(16)}`;
  const version = head.readUInt8(HEADER.version);
  if (version !== WIRE_VERSION) {
    return `the other side speaks version ${version} of the wire protocol, this one ${WIRE_VERSION}`;
  }
  if (crc32(head.subarray(0, HEADER.checksum)) !== head.readUInt32LE(HEADER.checksum)) {
    return 'the header has a wrong checksum';
  }
  if (head.readUInt16LE(HEADER.reserved) !== 0 || head.readUInt32LE(HEADER.reservedToo) !== 0) {
    return 'a reserved field is not zero';
  }
  const code = head.readUInt8(HEADER.type);
  const type = frameTypeOf(code);
  if (type === undefined) return `type ${code} is unknown`;
  const found = head.readUInt32LE(HEADER.sequence);
  if (found !== sequence) return `${type} has sequence number ${found}; expected ${sequence}`;
  const tableBytes = head.readUInt32LE(HEADER.tableBytes);
  if (tableBytes > WIRE_LIMITS.tableBytesMax) {
    return `the table of ${type} has ${tableBytes} bytes; allowed are ${WIRE_LIMITS.tableBytesMax}`;
  }
  const payloadBytes = head.readUInt32LE(HEADER.payloadBytes);
  const { payloadBytesMax } = FRAMES[type];
  if (payloadBytes > payloadBytesMax) {
    return `the payload of ${type} has ${payloadBytes} bytes; allowed are ${payloadBytesMax}`;
  }
  return undefined;
}

function decodePages(table: Buffer, payloadBytes: number, geometry: ChannelGeometry | undefined): Decoded {
  if (geometry === undefined) return malformed('PAGES came where no page may');
  const runs = decodeRuns('PAGES', table, geometry, PLAIN_KINDS);
  if (typeof runs === 'string') return malformed(runs);
  const dataPages = pagesOfKind(runs, RunKind.DATA);
  if (payloadBytes !== dataPages * PAGE_BYTES) {
    return malformed(`PAGES announces ${dataPages} pages and a payload of ${payloadBytes} bytes`);
  }
  if (runs.length > 1 && dataPages > WIRE_LIMITS.gatheredPagesMax) {
    return malformed(`PAGES gathers ${dataPages} pages; allowed are ${WIRE_LIMITS.gatheredPagesMax}`);
  }
  return { kind: 'frame', frame: { type: 'PAGES', runs, payloadBytes } };
}

function decodeCodedFrame(
  table: Buffer,
  payloadBytes: number,
  geometry: ChannelGeometry | undefined,
): Decoded {
  if (geometry === undefined) return malformed('CODED came where no page may');
  const frame = decodeCoded(table, payloadBytes, geometry);
  return typeof frame === 'string' ? malformed(frame) : { kind: 'frame', frame };
}

function decodeControl(type: ControlType, table: Buffer, payloadBytes: number): Decoded {
  const body = unpack(table);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return malformed(`the table of ${type} is no MessagePack map`);
  }
  const fields: Readonly<Record<string, Field<unknown>>> = FRAMES[type].fields;
  for (const key of Object.keys(body)) {
    if (!Object.hasOwn(fields, key)) return malformed(`the table of ${type} has an unknown field`);
  }
  for (const [key, { what, accepts }] of Object.entries(fields)) {
    const value: unknown = (body as Record<string, unknown>)[key];
    if (!accepts(value)) return malformed(`${key} of ${type} is not ${what}`);
  }
  const frame = { type, body: body as Body<ControlType>, payloadBytes } as ControlFrame;
  return { kind: 'frame', frame };
}

/** The library throws at what it cannot read; here that is an answer like any other. */
function unpack(table: Buffer): unknown {
  try {
    return messagePack.unpack(table);
  } catch {
    return undefined;
  }
}
