/**
 * NaCl's secretbox (Bernstein, Lange, Schwabe 2012: XSalsa20 and Poly1305) as tweetnacl has it: JavaScript
 * alone, for what no part in C may be needed. It is some thirty times slower than the others.
 */

import { lazily } from '../lazy-module.ts';
import type { RecordCipher } from './record-cipher.ts';

const nacl = lazily<typeof import('tweetnacl')>('tweetnacl');

export class NaclSecretbox implements RecordCipher {
  readonly #key: Uint8Array;
  readonly #nonce = Buffer.alloc(nacl().secretbox.nonceLength);

  constructor(key: Uint8Array) {
    this.#key = Uint8Array.from(key);
  }

  seal(index: number, parts: readonly Uint8Array[]): Uint8Array[] {
    return [nacl().secretbox(Buffer.concat(parts), this.#nonceOf(index), this.#key)];
  }

  open(index: number, record: Uint8Array): Uint8Array | undefined {
    return nacl().secretbox.open(record, this.#nonceOf(index), this.#key) ?? undefined;
  }

  #nonceOf(index: number): Buffer {
    this.#nonce.writeBigUInt64LE(BigInt(index));
    return this.#nonce;
  }
}
