/**
 * The two hashes of deduplication. A fast one finds candidates, and proves nothing: bytes are compared, or the
 * digest is. The digest stands for a page's content where the bytes are on the other host.
 */

import { hash } from 'node:crypto';
import { xxh64 } from '@node-rs/xxhash';

/** A fast hash as two words. */
export interface PageHash {
  low: number;
  high: number;
}

/** Fills in the hash of a page's content. A test may put another in its place, to plant collisions. */
export type HashPage = (content: Uint8Array, into: PageHash) => void;

/** Bytes of a page's digest: SHA-256, cut. */
export const DIGEST_BYTES = 16;

const result = new BigUint64Array(1);
const words = new Uint32Array(result.buffer);

/** XXH64: 4 KiB take less than a microsecond. */
export const hashPage: HashPage = (content, into) => {
  result[0] = xxh64(content);
  into.low = words[0] as number;
  into.high = words[1] as number;
};

/** The digest of a page's content, which the caller alone can change. */
export function digestPage(content: Uint8Array): Uint8Array {
  return hash('sha256', content, 'buffer').subarray(0, DIGEST_BYTES);
}
