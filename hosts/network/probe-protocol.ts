/**
 * What the two sides of a probe say to each other: the caller begins with one fixed block, magic and token
 * and what it wants, and what follows depends on it.
 *
 * - round trips: the caller sends blocks of 8 bytes, each is sent back.
 * - rate: the caller sends as fast as it can; when the other side has measured long enough it answers with
 *   one block of 24 bytes (received bytes u64, measured ms f64, zero u64), and the caller ends. What is on its
 *   way then is read until the end, so that the next measurement finds an empty link.
 * - traffic: the caller sends what it likes; the other side answers with such blocks until the caller ends.
 */

import { createHash } from 'node:crypto';

export const PROBE_KINDS = { roundTrips: 1, rate: 2, traffic: 3 } as const;
export type ProbeKind = (typeof PROBE_KINDS)[keyof typeof PROBE_KINDS];

export interface ProbeHello {
  readonly kind: ProbeKind;
  readonly token: string;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface RateAnswer {
  readonly receivedBytes: number;
  readonly measuredMs: number;
}

export const HELLO_BYTES = 64;
export const PING_BYTES = 8;
export const RATE_ANSWER_BYTES = 24;

const MAGIC = 0x50574447;
const VERSION = 1;
const TOKEN_AT = 32;

/** `GDWP`, version, kind, two reserved bytes, warm-up and measure as f64, zero, and the token's SHA-256. */
export function encodeHello({ kind, token, warmUpMs, measureMs }: ProbeHello): Buffer {
  const block = Buffer.alloc(HELLO_BYTES);
  block.writeUInt32LE(MAGIC, 0);
  block.writeUInt8(VERSION, 4);
  block.writeUInt8(kind, 5);
  block.writeDoubleLE(warmUpMs, 8);
  block.writeDoubleLE(measureMs, 16);
  tokenDigest(token).copy(block, TOKEN_AT);
  return block;
}

/** @returns the hello without its token, or what is wrong with it */
export function decodeHello(block: Buffer, token: string): Omit<ProbeHello, 'token'> | string {
  if (block.readUInt32LE(0) !== MAGIC) return 'it is no probe';
  const version = block.readUInt8(4);
  if (version !== VERSION) return `its version is ${version}; this side's is ${VERSION}`;
  const kind = block.readUInt8(5);
  const known = Object.values(PROBE_KINDS).find((each) => each === kind);
  if (known === undefined) return `its kind ${kind} is unknown`;
  if (!block.subarray(TOKEN_AT).equals(tokenDigest(token))) return 'its token is not this probe’s';
  return { kind: known, warmUpMs: block.readDoubleLE(8), measureMs: block.readDoubleLE(16) };
}

export function encodeRateAnswer({ receivedBytes, measuredMs }: RateAnswer): Buffer {
  const block = Buffer.alloc(RATE_ANSWER_BYTES);
  block.writeBigUInt64LE(BigInt(receivedBytes), 0);
  block.writeDoubleLE(measuredMs, 8);
  return block;
}

export function decodeRateAnswer(block: Buffer): RateAnswer {
  return { receivedBytes: Number(block.readBigUInt64LE(0)), measuredMs: block.readDoubleLE(8) };
}

function tokenDigest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
