/**
 * How the two ends of a connection prove that they hold the migration's ticket, and agree on keys: HELLO and
 * WELCOME each bring an ephemeral X25519 key (RFC 7748) and a proof, an HMAC-SHA-256 by a key from the
 * ticket's secret over all that the two ends must agree on. The keys come by HKDF (RFC 5869) from what the
 * ephemeral keys share, salted with the ticket's secret. So whoever lacks the ticket is refused before
 * anything else is read of it, every connection has keys of its own, and a ticket that is stolen later opens
 * no record that was sent before. In its form it is Noise's NNpsk0 (Noise specification, section 9).
 */

import {
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import type { Ticket } from '../../../proto/generated/godwit/v1/host.ts';
import type { Encryption } from '../../../proto/generated/godwit/v1/migration.ts';
import { SEALING_LIMITS } from './limits.ts';
import { publicPart, transcript } from './ticket.ts';

/** What both ends of a connection must agree on. */
export interface ConnectionTerms {
  readonly ticket: Ticket;
  readonly encryption: Encryption;
  readonly channel: number;
  readonly pageCount: number;
  /** What only the two ends of this TLS connection know (RFC 9266); empty without TLS. */
  readonly binding: Uint8Array;
}

/** What HELLO and WELCOME bring of it. */
export interface Greeting {
  readonly publicKey: Uint8Array;
  readonly proof: Uint8Array;
}

/** One key for each direction of a connection. */
export interface ConnectionKeys {
  readonly toDestination: Buffer;
  readonly toSource: Buffer;
}

/** The other end does not hold this migration's ticket, or does not mean this connection. */
export class HandshakeRefusal extends Error {}

const DOMAIN = 'godwit wire 2';

/** The destination's end: it speaks first. */
export class Hello {
  readonly greeting: Greeting;
  readonly #terms: ConnectionTerms;
  readonly #privateKey: KeyObject;

  constructor(terms: ConnectionTerms) {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    this.#terms = terms;
    this.#privateKey = privateKey;
    const raw = rawOf(publicKey);
    this.greeting = { publicKey: raw, proof: proofOf(terms, 'HELLO', [raw]) };
  }

  /** The connection's keys. @throws HandshakeRefusal when WELCOME is not by the migration's source */
  welcomed(welcome: Greeting): ConnectionKeys {
    const publicKeys = [this.greeting.publicKey, welcome.publicKey];
    mustProve(this.#terms, 'WELCOME', publicKeys, welcome.proof);
    return keysOf(this.#terms, this.#privateKey, welcome.publicKey, publicKeys);
  }
}

/**
 * The source's end: what WELCOME brings, and the connection's keys.
 *
 * @throws HandshakeRefusal when HELLO is not by the migration's destination
 */
export function answerHello(
  terms: ConnectionTerms,
  hello: Greeting,
): { readonly welcome: Greeting; readonly keys: ConnectionKeys } {
  mustProve(terms, 'HELLO', [hello.publicKey], hello.proof);
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const raw = rawOf(publicKey);
  const publicKeys = [hello.publicKey, raw];
  const keys = keysOf(terms, privateKey, hello.publicKey, publicKeys);
  return { welcome: { publicKey: raw, proof: proofOf(terms, 'WELCOME', publicKeys) }, keys };
}

/** A key of 32 bytes from the ticket alone, for one use. */
export function ticketKey(ticket: Ticket, use: string): Buffer {
  const info = transcript([DOMAIN, use, publicPart(ticket)]);
  return Buffer.from(hkdfSync('sha256', ticket.secret, '', info, SEALING_LIMITS.keyBytes));
}

function wholeTranscript(terms: ConnectionTerms, publicKeys: readonly Uint8Array[]): Buffer {
  const { ticket, encryption, channel, pageCount, binding } = terms;
  const agreed = [encryption, channel, pageCount].map(String);
  return transcript([publicPart(ticket), ...agreed, binding, ...publicKeys]);
}

function proofOf(terms: ConnectionTerms, role: string, publicKeys: readonly Uint8Array[]): Buffer {
  const hmac = createHmac('sha256', ticketKey(terms.ticket, 'proof'));
  return hmac.update(transcript([role, wholeTranscript(terms, publicKeys)])).digest();
}

function mustProve(
  terms: ConnectionTerms,
  role: string,
  publicKeys: readonly Uint8Array[],
  proof: Uint8Array,
): void {
  const expected = proofOf(terms, role, publicKeys);
  if (proof.byteLength === expected.byteLength && timingSafeEqual(proof, expected)) return;
  const { migration } = terms.ticket;
  throw new HandshakeRefusal(
    `${role} does not prove that it comes with the ticket of migration "${migration}"`,
  );
}

function keysOf(
  terms: ConnectionTerms,
  privateKey: KeyObject,
  otherKey: Uint8Array,
  publicKeys: readonly Uint8Array[],
): ConnectionKeys {
  let shared: Buffer;
  try {
    shared = diffieHellman({ privateKey, publicKey: publicKeyOf(otherKey) });
  } catch {
    // RFC 7748: a key of small order, with which everybody shares the same.
    throw new HandshakeRefusal('the public key of the other end is none of X25519 that may be used');
  }
  const digest = createHash('sha256').update(wholeTranscript(terms, publicKeys)).digest();
  const { keyBytes } = SEALING_LIMITS;
  const info = transcript([DOMAIN, 'keys', digest]);
  const both = Buffer.from(hkdfSync('sha256', shared, terms.ticket.secret, info, 2 * keyBytes));
  return { toDestination: both.subarray(0, keyBytes), toSource: both.subarray(keyBytes) };
}

function rawOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x as string, 'base64url');
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
}
