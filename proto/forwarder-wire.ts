/**
 * The bytes between a guest's host and the forwarder that keeps one address for the guest (docs/clients.md). A
 * host dials, one connection for each guest; every frame is a message of message-stream.ts whose first byte is
 * its kind.
 *
 * The forwarder numbers a guest's requests, and sends them in the order of their numbers. A host says TAKEN
 * when a request, and with it every one before it on this connection, stands in the guest's memory: from then
 * on it travels with the guest. Whatever was not taken is sent again to the host that is next to announce the
 * guest, which does not take again what stands in the guest's memory already: TAKEN and ANNOUNCE come on different
 * connections, in any order.
 */

import { MESSAGE_BYTES_MAX } from './guest-request.ts';

export const FORWARDER_WIRE_VERSION = 1;
/** A request's number (uint64) and the forwarder's own eight bytes: what a response must bring back. */
export const FORWARDER_FLOW_BYTES = 16;
export const FORWARDER_FRAME_BYTES_MAX = 1 + FORWARDER_FLOW_BYTES + MESSAGE_BYTES_MAX;
/** How many requests that were not taken a forwarder sends to a host. */
export const FORWARDER_WINDOW = 1024;
/** What a token or a reason may be, in bytes of UTF-8. */
export const FORWARDER_TEXT_BYTES_MAX = 255;

const Kind = {
  HELLO: 1,
  ANNOUNCE: 2,
  WITHDRAW: 3,
  END: 4,
  TAKEN: 5,
  RESPONSE: 6,
  WELCOME: 16,
  REFUSED: 17,
  REQUEST: 18,
} as const;

/** What a host says. */
export type HostFrame =
  | { readonly kind: 'hello'; readonly version: number; readonly token: string; readonly guest: string }
  /** The guest runs here, under this ownership epoch; `round` counts from 1. */
  | { readonly kind: 'announce'; readonly epoch: bigint; readonly round: number }
  /** It does not run here any more, and may run elsewhere. */
  | { readonly kind: 'withdraw' }
  /** It has ended here and runs nowhere: a later one of its name begins with any epoch. */
  | { readonly kind: 'end' }
  /** Every request up to this number that came on this connection is in the guest. */
  | { readonly kind: 'taken'; readonly number: number }
  | { readonly kind: 'response'; readonly flow: Buffer; readonly message: Buffer };

/** What a forwarder says. */
export type ForwarderFrame =
  | { readonly kind: 'welcome' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'request'; readonly flow: Buffer; readonly message: Buffer };

/** Writes a frame, without its length. @throws RangeError for what no frame can hold */
export function encodeFrame(frame: HostFrame | ForwarderFrame): Buffer {
  switch (frame.kind) {
    case 'hello': {
      const version = Buffer.alloc(2);
      version.writeUInt16LE(frame.version);
      return Buffer.concat([head(Kind.HELLO), version, text(frame.token), text(frame.guest)]);
    }
    case 'announce': {
      const bytes = Buffer.alloc(13);
      bytes[0] = Kind.ANNOUNCE;
      bytes.writeBigUInt64LE(frame.epoch, 1);
      bytes.writeUInt32LE(frame.round, 9);
      return bytes;
    }
    case 'withdraw':
      return head(Kind.WITHDRAW);
    case 'end':
      return head(Kind.END);
    case 'taken':
      return Buffer.concat([head(Kind.TAKEN), numberBytes(frame.number)]);
    case 'response':
      return withMessage(Kind.RESPONSE, frame.flow, frame.message);
    case 'welcome':
      return head(Kind.WELCOME);
    case 'refused':
      return Buffer.concat([head(Kind.REFUSED), text(frame.reason)]);
    case 'request':
      return withMessage(Kind.REQUEST, frame.flow, frame.message);
  }
}

/** Reads what a host said: a view of the bytes. Undefined when it is no such frame. */
export function decodeHostFrame(bytes: Buffer): HostFrame | undefined {
  switch (bytes[0] ?? 0) {
    case Kind.HELLO: {
      if (bytes.byteLength < 3) return undefined;
      const token = textAt(bytes, 3);
      const guest = token && textAt(bytes, token.end);
      if (token === undefined || guest?.end !== bytes.byteLength) return undefined;
      return { kind: 'hello', version: bytes.readUInt16LE(1), token: token.value, guest: guest.value };
    }
    case Kind.ANNOUNCE:
      if (bytes.byteLength !== 13) return undefined;
      return { kind: 'announce', epoch: bytes.readBigUInt64LE(1), round: bytes.readUInt32LE(9) };
    case Kind.WITHDRAW:
      return bytes.byteLength === 1 ? { kind: 'withdraw' } : undefined;
    case Kind.END:
      return bytes.byteLength === 1 ? { kind: 'end' } : undefined;
    case Kind.TAKEN: {
      const number = bytes.byteLength === 9 ? numberIn(bytes.subarray(1)) : undefined;
      return number === undefined ? undefined : { kind: 'taken', number };
    }
    case Kind.RESPONSE: {
      const parts = messageParts(bytes);
      return parts && { kind: 'response', ...parts };
    }
    default:
      return undefined;
  }
}

/** Reads what a forwarder said: a view of the bytes. Undefined when it is no such frame. */
export function decodeForwarderFrame(bytes: Buffer): ForwarderFrame | undefined {
  switch (bytes[0] ?? 0) {
    case Kind.WELCOME:
      return bytes.byteLength === 1 ? { kind: 'welcome' } : undefined;
    case Kind.REFUSED: {
      const reason = textAt(bytes, 1);
      return reason?.end === bytes.byteLength ? { kind: 'refused', reason: reason.value } : undefined;
    }
    case Kind.REQUEST: {
      const parts = messageParts(bytes);
      return parts && { kind: 'request', ...parts };
    }
    default:
      return undefined;
  }
}

/** The flow of a request. @param instance eight bytes that no other forwarder has */
export function flowOf(number: number, instance: Uint8Array): Buffer {
  return Buffer.concat([numberBytes(number), instance], FORWARDER_FLOW_BYTES);
}

/** The number in a flow, or undefined when it is none that a forwarder gives. */
export function flowNumber(flow: Buffer): number | undefined {
  return numberIn(flow);
}

/** Whose flow it is. */
export function flowInstance(flow: Buffer): Buffer {
  return flow.subarray(8, FORWARDER_FLOW_BYTES);
}

function head(kind: number): Buffer {
  return Buffer.of(kind);
}

function numberBytes(number: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(number));
  return bytes;
}

function numberIn(bytes: Buffer): number | undefined {
  const number = Number(bytes.readBigUInt64LE(0));
  return Number.isSafeInteger(number) ? number : undefined;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.byteLength > FORWARDER_TEXT_BYTES_MAX) {
    throw new RangeError(`a text of ${bytes.byteLength} bytes; allowed are ${FORWARDER_TEXT_BYTES_MAX}`);
  }
  return Buffer.concat([Buffer.of(bytes.byteLength), bytes]);
}

function textAt(bytes: Buffer, offset: number): { value: string; end: number } | undefined {
  const length = bytes[offset];
  if (length === undefined || offset + 1 + length > bytes.byteLength) return undefined;
  const end = offset + 1 + length;
  return { value: bytes.toString('utf8', offset + 1, end), end };
}

function withMessage(kind: number, flow: Uint8Array, message: Uint8Array): Buffer {
  if (flow.byteLength !== FORWARDER_FLOW_BYTES || message.byteLength > MESSAGE_BYTES_MAX) {
    throw new RangeError(`a flow of ${flow.byteLength} bytes and a message of ${message.byteLength}`);
  }
  return Buffer.concat([head(kind), flow, message]);
}

function messageParts(bytes: Buffer): { flow: Buffer; message: Buffer } | undefined {
  const begin = 1 + FORWARDER_FLOW_BYTES;
  if (bytes.byteLength <= begin || bytes.byteLength > FORWARDER_FRAME_BYTES_MAX) return undefined;
  return { flow: bytes.subarray(1, begin), message: bytes.subarray(begin) };
}
