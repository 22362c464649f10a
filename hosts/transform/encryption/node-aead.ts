/**
 * AES-256-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439) as Node has them.
 *
 * Both compute their tag over what they have written, so that guest memory that changes while it is read makes
 * no record that does not open.
 */

import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { SEALING_LIMITS } from './limits.ts';
import type { RecordCipher } from './record-cipher.ts';

const NONCE_BYTES = 12;
const { tagBytes: authTagLength } = SEALING_LIMITS;

export type NodeAeadName = 'aes-256-gcm' | 'chacha20-poly1305';

export class NodeAead implements RecordCipher {
  readonly #name: NodeAeadName;
  readonly #key: KeyObject;
  readonly #nonce = Buffer.alloc(NONCE_BYTES);

  constructor(name: NodeAeadName, key: Uint8Array) {
    this.#name = name;
    this.#key = createSecretKey(key);
  }

  seal(index: number, parts: readonly Uint8Array[]): Uint8Array[] {
    // The types know a cipher of one name at a time.
    const name = this.#name as 'aes-256-gcm';
    const cipher = createCipheriv(name, this.#key, this.#nonceOf(index), { authTagLength });
    const pieces: Uint8Array[] = parts.map((part) => cipher.update(part));
    cipher.final();
    pieces.push(cipher.getAuthTag());
    return pieces;
  }

  open(index: number, record: Uint8Array): Uint8Array | undefined {
    const name = this.#name as 'aes-256-gcm';
    const decipher = createDecipheriv(name, this.#key, this.#nonceOf(index), { authTagLength });
    const end = record.byteLength - authTagLength;
    const opened = decipher.update(record.subarray(0, end));
    decipher.setAuthTag(record.subarray(end));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return opened;
  }

  #nonceOf(index: number): Buffer {
    this.#nonce.writeBigUInt64LE(BigInt(index), NONCE_BYTES - 8);
    return this.#nonce;
  }
}
