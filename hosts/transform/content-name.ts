/**
 * How a content is named to a host that may have it, the body of DIGEST: its fast hash, by which it is found, and its
 * digest, which proves it. With the hash alone in its index the destination need not digest every page that it is sent.
 */

import { DIGEST_BYTES, digestPage, type PageHash } from './page-hash.ts';

const HASH_BYTES = 8;
export const CONTENT_NAME_BYTES = HASH_BYTES + DIGEST_BYTES;

/** @param content that nobody changes meanwhile, with its hash */
export function nameContent(content: Uint8Array, { low, high }: PageHash): Buffer {
  const name = Buffer.allocUnsafe(CONTENT_NAME_BYTES);
  name.writeUInt32LE(low, 0);
  name.writeUInt32LE(high, 4);
  name.set(digestPage(content), HASH_BYTES);
  return name;
}

/** The hash in a name. */
export function hashOfName(name: Buffer): PageHash {
  return { low: name.readUInt32LE(0), high: name.readUInt32LE(4) };
}

/** Whether a content, which nobody changes meanwhile, is the one that is named. */
export function isNamed(content: Uint8Array, name: Buffer): boolean {
  return Buffer.compare(digestPage(content), name.subarray(HASH_BYTES, CONTENT_NAME_BYTES)) === 0;
}
