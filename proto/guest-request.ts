/**
 * What a client outside says to a guest, and what the guest answers: small binary messages, one in a UDP datagram, or
 * in a TCP stream each after its length (uint32). All numbers are little-endian.
 *
 * A request is 16 bytes: a magic byte, the operation, two bytes of zero, the key (uint32), and the client's own number
 * for the request (uint64), which comes back. A response is the same 16 bytes with the status in place of the zeroes,
 * then the version of the key's page (uint32), then the body. The version counts the writes of the page's lane, so a
 * client can tell an answer that forgot a write which it had been told of: a key's versions never fall.
 */

export const REQUEST_BYTES = 16;
/** The head of a response: what stands before the body. */
export const RESPONSE_HEAD_BYTES = 20;
/** Head and body fit into one Ethernet frame with IP and UDP (1500 - 28). */
export const MESSAGE_BYTES_MAX = 1472;
export const RESPONSE_BODY_BYTES_MAX = MESSAGE_BYTES_MAX - RESPONSE_HEAD_BYTES;

const MAGIC = 0x67;

export const RequestOperation = {
  /** kv: reads the record. web: reads pages and renders. */
  GET: 1,
  /** kv: writes the record. web: as GET, and writes the session's page. */
  SET: 2,
} as const;
export type RequestOperation = (typeof RequestOperation)[keyof typeof RequestOperation];

export const ResponseStatus = {
  OK: 0,
  /** The request could not be read; key and number are what stood in it, as far as it went. */
  MALFORMED: 1,
} as const;
export type ResponseStatus = (typeof ResponseStatus)[keyof typeof ResponseStatus];

export interface GuestRequest {
  readonly operation: RequestOperation;
  /** A uint32; the guest takes it modulo the number of its records. */
  readonly key: number;
  /** The client's: 0 to 2^64 - 1. */
  readonly number: bigint;
}

export interface GuestResponse extends GuestRequest {
  readonly status: ResponseStatus;
  /** Of the key's page after the operation; a uint32. */
  readonly version: number;
  /** The bytes after the head. */
  readonly bodyBytes: number;
}

export function encodeRequest({ operation, key, number }: GuestRequest): Buffer {
  const bytes = Buffer.alloc(REQUEST_BYTES);
  bytes[0] = MAGIC;
  bytes[1] = operation;
  bytes.writeUInt32LE(key, 4);
  bytes.writeBigUInt64LE(number, 8);
  return bytes;
}

/** Undefined when it is not a request. */
export function decodeRequest(bytes: Buffer): GuestRequest | undefined {
  if (bytes.byteLength !== REQUEST_BYTES || bytes[0] !== MAGIC || bytes.readUInt16LE(2) !== 0)
    return undefined;
  const operation = bytes[1];
  if (operation !== RequestOperation.GET && operation !== RequestOperation.SET) return undefined;
  return { operation, key: bytes.readUInt32LE(4), number: bytes.readBigUInt64LE(8) };
}

/**
 * Writes the head of a response; the body, if any, is the caller's.
 *
 * @param into room for RESPONSE_HEAD_BYTES and the body
 */
export function encodeResponseHead(response: Omit<GuestResponse, 'bodyBytes'>, into: Buffer): void {
  into[0] = MAGIC;
  into[1] = response.operation;
  into.writeUInt16LE(response.status, 2);
  into.writeUInt32LE(response.key, 4);
  into.writeBigUInt64LE(response.number, 8);
  into.writeUInt32LE(response.version, 16);
}

/** Undefined when it is not a response. */
export function decodeResponse(bytes: Buffer): GuestResponse | undefined {
  if (bytes.byteLength < RESPONSE_HEAD_BYTES || bytes.byteLength > MESSAGE_BYTES_MAX) return undefined;
  const operation = bytes[1];
  const status = bytes.readUInt16LE(2);
  if (bytes[0] !== MAGIC || (operation !== RequestOperation.GET && operation !== RequestOperation.SET))
    return undefined;
  if (status !== ResponseStatus.OK && status !== ResponseStatus.MALFORMED) return undefined;
  return {
    operation,
    status,
    key: bytes.readUInt32LE(4),
    number: bytes.readBigUInt64LE(8),
    version: bytes.readUInt32LE(16),
    bodyBytes: bytes.byteLength - RESPONSE_HEAD_BYTES,
  };
}
