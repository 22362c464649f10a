/**
 * The migration's wire format: what frames there are, what each may hold, and how a head is written.
 * docs/wire.md is its description. Reading is frame-decoder.ts; both sides use these two files and nothing
 * else to speak.
 *
 * A frame is a head (32 bytes, then a table of at most 2 KiB) and a payload. The header has a checksum of its
 * own, so that the table's length can be trusted before the table is there, and the table has one in the
 * header.
 */

import { crc32 } from 'node:zlib';
import { Packr } from 'msgpackr';
import { PAGE_BYTES } from '../../proto/page.ts';
import { SEALING_LIMITS } from '../transform/encryption/limits.ts';
import { WIRE_LIMITS } from './limits.ts';

export const WIRE_MAGIC = 0x54574447;
export const WIRE_VERSION = 2;
export const HEADER_BYTES = 32;
export const RUN_BYTES = 8;

/** Where the header's fields are, in bytes from its start. */
export const HEADER = {
  magic: 0,
  version: 4,
  type: 5,
  reserved: 6,
  sequence: 8,
  tableBytes: 12,
  payloadBytes: 16,
  tableChecksum: 20,
  reservedToo: 24,
  checksum: 28,
} as const;

/** Pages belong to channels by stripes of this many. */
export const STRIPE_PAGES = 256;

/** The channel that a page's versions travel on, all of them. */
export function channelOf(page: number, channelCount: number): number {
  return Math.floor(page / STRIPE_PAGES) % channelCount;
}

export type Side = 'source' | 'destination';

/** One field of a table: what it may be, in words and as a check. */
export interface Field<T> {
  readonly what: string;
  readonly accepts: (value: unknown) => value is T;
}

const whole = (max: number): Field<number> => ({
  what: `a whole number from 0 to ${max}`,
  accepts: (value): value is number =>
    Number.isInteger(value) && (value as number) >= 0 && Number(value) <= max,
});
const timeMs: Field<number> = {
  what: 'a time in ms',
  accepts: (value): value is number => Number.isFinite(value) && Number(value) >= 0,
};
const text: Field<string> = {
  what: `a text of at most ${WIRE_LIMITS.textLengthMax} characters`,
  accepts: (value): value is string => typeof value === 'string' && value.length <= WIRE_LIMITS.textLengthMax,
};
const wholes = (lengthMax: number, max: number): Field<number[]> => ({
  what: `at most ${lengthMax} whole numbers from 0 to ${max}`,
  accepts: (value): value is number[] =>
    Array.isArray(value) && value.length <= lengthMax && value.every(whole(max).accepts),
});

interface FrameRule<F> {
  /** The type's number on the wire; 0 is invalid. */
  readonly code: number;
  readonly from: Side | 'both';
  /** The fields of its MessagePack table, all there; undefined when the table is not MessagePack. */
  readonly fields: F;
  readonly payloadBytesMax: number;
}

function rule<F>(code: number, from: Side | 'both', fields: F, payloadBytesMax = 0): FrameRule<F> {
  return { code, from, fields, payloadBytesMax };
}

const bytes = (lengthMax: number): Field<Uint8Array> => ({
  what: `at most ${lengthMax} bytes`,
  accepts: (value): value is Uint8Array => value instanceof Uint8Array && value.byteLength <= lengthMax,
});

/** A public key of X25519, or a proof: what HELLO and WELCOME bring (hosts/transform/encryption/handshake.ts). */
const { keyBytes } = SEALING_LIMITS;
const key: Field<Uint8Array> = {
  what: `${keyBytes} bytes`,
  accepts: (value): value is Uint8Array => value instanceof Uint8Array && value.byteLength === keyBytes,
};

const round = whole(2 ** 32 - 1);
const page = whole(WIRE_LIMITS.pageCountMax - 1);

/** Every frame there is. What each means stands in docs/wire.md. */
export const FRAMES = {
  HELLO: rule(1, 'destination', {
    migration: text,
    // The priority channel comes behind the others.
    channel: whole(WIRE_LIMITS.channelsMax),
    pageCount: whole(WIRE_LIMITS.pageCountMax),
    publicKey: key,
    proof: key,
  }),
  WELCOME: rule(2, 'source', { publicKey: key, proof: key }),
  PING: rule(3, 'destination', { sentAtMs: timeMs }),
  PONG: rule(4, 'source', { sentAtMs: timeMs, nowMs: timeMs }),
  START: rule(5, 'destination', {}),
  PAGES: rule(6, 'source', undefined, WIRE_LIMITS.longRunPagesMax * PAGE_BYTES),
  ROUND_END: rule(7, 'source', { round }),
  ROUND_DONE: rule(8, 'destination', { round }),
  ALIVE: rule(9, 'both', {}),
  DEVICE_STATE: rule(
    10,
    'source',
    { ledgerDigest: text, vcpuStateBytes: wholes(WIRE_LIMITS.vcpuCountMax, WIRE_LIMITS.vcpuStateBytesMax) },
    WIRE_LIMITS.vcpuCountMax * WIRE_LIMITS.vcpuStateBytesMax +
      WIRE_LIMITS.deviceStateBytesMax +
      WIRE_LIMITS.freeListBytes,
  ),
  READY: rule(11, 'destination', { installedAtMs: timeMs }),
  COMMIT: rule(12, 'source', {}),
  RESUMED: rule(13, 'destination', { resumedAtMs: timeMs }),
  LEDGER: rule(
    14,
    'source',
    { vcpu: whole(WIRE_LIMITS.vcpuCountMax - 1), firstPage: whole(WIRE_LIMITS.pageCountMax - 1) },
    WIRE_LIMITS.ledgerPayloadBytesMax,
  ),
  LEDGER_END: rule(15, 'source', {}),
  LEDGER_DONE: rule(16, 'destination', {}),
  FAILURE: rule(17, 'both', { reason: text }),
  STANDBY: rule(18, 'destination', {}),
  MISSING: rule(19, 'source', { pages: whole(WIRE_LIMITS.pageCountMax) }, WIRE_LIMITS.bitmapBytesMax),
  REQUEST: rule(20, 'destination', {
    pages: wholes(WIRE_LIMITS.requestPagesMax, WIRE_LIMITS.pageCountMax - 1),
  }),
  COMPLETE: rule(21, 'destination', { completeAtMs: timeMs }),
  PLACED: rule(23, 'destination', { bytes: whole(WIRE_LIMITS.longRunPagesMax * PAGE_BYTES) }),
  LACKING: rule(22, 'destination', { firstPage: page, bitmap: bytes(WIRE_LIMITS.bitmapPartBytesMax) }),
  WANTED: rule(25, 'destination', {
    pages: wholes(WIRE_LIMITS.wantedPagesMax, WIRE_LIMITS.pageCountMax - 1),
  }),
  OFFER: rule(26, 'destination', { hashes: bytes(WIRE_LIMITS.offeredHashesMax * 8) }),
  ARRIVED: rule(27, 'destination', {
    bytes: whole(WIRE_LIMITS.arrivedBytesMax),
    receivedBytes: whole(Number.MAX_SAFE_INTEGER),
    receivedAtMs: timeMs,
    saidAtMs: timeMs,
  }),
  CODED: rule(24, 'source', undefined, WIRE_LIMITS.codedBytesMax),
} as const;

export type FrameType = keyof typeof FRAMES;

type Value<F> = F extends Field<infer T> ? T : never;

/** What the MessagePack table of a frame type holds. */
export type Body<T extends FrameType> = {
  -readonly [K in keyof (typeof FRAMES)[T]['fields']]: Value<(typeof FRAMES)[T]['fields'][K]>;
};

/** A run of pages in the table of a PAGES or CODED frame; from COPY on in CODED only. */
export const RunKind = { DATA: 1, ZERO: 2, COPY: 3, DELTA: 4, DIGEST: 5 } as const;
export type RunKind = (typeof RunKind)[keyof typeof RunKind];
export interface PageRun {
  readonly firstPage: number;
  readonly pageCount: number;
  readonly kind: RunKind;
}

export interface PagesFrame {
  readonly type: 'PAGES';
  readonly runs: readonly PageRun[];
  readonly payloadBytes: number;
}

/** How the payload of a CODED frame is compressed. */
export const WireCodec = { NONE: 0, DEFLATE: 1, ZSTD: 2, LZ4: 3, SNAPPY: 4 } as const;
export type WireCodec = (typeof WireCodec)[keyof typeof WireCodec];

/** Pages that transforms have made less of (hosts/transform). */
export interface CodedFrame {
  readonly type: 'CODED';
  readonly codec: WireCodec;
  /** The payload's size when it is decompressed. */
  readonly decodedBytes: number;
  readonly runs: readonly PageRun[];
  readonly payloadBytes: number;
}

/** The frames that bring pages. */
export type PageFrame = PagesFrame | CodedFrame;

export function isPageFrame(frame: Frame): frame is PageFrame {
  return frame.type === 'PAGES' || frame.type === 'CODED';
}

/** What precedes the runs in the table of a CODED frame: codec u8, 3 reserved, decodedBytes u32. */
export const CODED_HEAD_BYTES = 8;

/** The frames whose tables are MessagePack. */
export type ControlType = Exclude<FrameType, PageFrame['type']>;
export type ControlFrame = {
  [T in ControlType]: { readonly type: T; readonly body: Body<T>; readonly payloadBytes: number };
}[ControlType];
export type Frame = PageFrame | ControlFrame;

const TYPES_BY_CODE = new Map<number, FrameType>(
  (Object.keys(FRAMES) as FrameType[]).map((type) => [FRAMES[type].code, type]),
);

export function frameTypeOf(code: number): FrameType | undefined {
  return TYPES_BY_CODE.get(code);
}

/** Plain MessagePack maps: no records, which would make one table depend on an earlier one. */
export const messagePack = new Packr({ useRecords: false });

/** The head of a frame with a MessagePack table. */
export function encodeControl<T extends ControlType>(
  type: T,
  body: Body<T>,
  sequence: number,
  payloadBytes = 0,
): Buffer {
  return encodeHead(type, messagePack.pack(body), sequence, payloadBytes);
}

/** The head of a PAGES frame; its payload are the data runs' pages in the order of `runs`. */
export function encodePages(runs: readonly PageRun[], sequence: number): Buffer {
  const table = Buffer.allocUnsafe(runs.length * RUN_BYTES);
  writeRuns(runs, table);
  return encodeHead('PAGES', table, sequence, pagesOfKind(runs, RunKind.DATA) * PAGE_BYTES);
}

/** The head of a CODED frame. */
export function encodeCoded(
  { runs, codec, decodedBytes, payloadBytes }: Omit<CodedFrame, 'type'>,
  sequence: number,
): Buffer {
  const table = Buffer.alloc(CODED_HEAD_BYTES + runs.length * RUN_BYTES);
  table.writeUInt8(codec, 0);
  table.writeUInt32LE(decodedBytes, 4);
  writeRuns(runs, table.subarray(CODED_HEAD_BYTES));
  return encodeHead('CODED', table, sequence, payloadBytes);
}

/** How many pages of the runs are of this kind. */
export function pagesOfKind(runs: readonly PageRun[], wanted: RunKind): number {
  let pages = 0;
  for (const { pageCount, kind } of runs) if (kind === wanted) pages += pageCount;
  return pages;
}

/** The bytes of the guest's memory that a frame fills, pages of zeroes apart. */
export function contentBytesOf({ runs }: Pick<PageFrame, 'runs'>): number {
  let pages = 0;
  for (const { pageCount, kind } of runs) if (kind !== RunKind.ZERO) pages += pageCount;
  return pages * PAGE_BYTES;
}

function writeRuns(runs: readonly PageRun[], table: Buffer): void {
  let offset = 0;
  for (const { firstPage, pageCount, kind } of runs) {
    table.writeUInt32LE(firstPage, offset);
    table.writeUInt32LE(((kind << 24) | pageCount) >>> 0, offset + 4);
    offset += RUN_BYTES;
  }
}

/** A text that the wire takes: what is too long is cut. */
export function wireText(value: string): string {
  return value.slice(0, WIRE_LIMITS.textLengthMax);
}

function encodeHead(type: FrameType, table: Uint8Array, sequence: number, payloadBytes: number): Buffer {
  if (table.byteLength > WIRE_LIMITS.tableBytesMax || payloadBytes > FRAMES[type].payloadBytesMax) {
    throw new Error(
      `writing ${type}: ${table.byteLength} bytes of table and ${payloadBytes} of payload; allowed are ` +
        `${WIRE_LIMITS.tableBytesMax} and ${FRAMES[type].payloadBytesMax}`,
    );
  }
  const head = Buffer.allocUnsafe(HEADER_BYTES + table.byteLength);
  head.writeUInt32LE(WIRE_MAGIC, HEADER.magic);
  head.writeUInt8(WIRE_VERSION, HEADER.version);
  head.writeUInt8(FRAMES[type].code, HEADER.type);
  head.writeUInt16LE(0, HEADER.reserved);
  head.writeUInt32LE(sequence, HEADER.sequence);
  head.writeUInt32LE(table.byteLength, HEADER.tableBytes);
  head.writeUInt32LE(payloadBytes, HEADER.payloadBytes);
  head.writeUInt32LE(crc32(table), HEADER.tableChecksum);
  head.writeUInt32LE(0, HEADER.reservedToo);
  head.writeUInt32LE(crc32(head.subarray(0, HEADER.checksum)), HEADER.checksum);
  head.set(table, HEADER_BYTES);
  return head;
}
