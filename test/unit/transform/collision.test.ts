/**
 * Goal: two pages that differ and have the same XXH64 stay two pages. Method: XXH64 is no cryptographic hash,
 * so such pages are made: of two words that meet in the same lane one behind the other, the second takes back
 * what the first changed.
 */

import { afterEach, expect, test } from 'vitest';
import { nameContent } from '../../../hosts/transform/content-name.ts';
import { HeldContents } from '../../../hosts/transform/held-contents.ts';
import { OtherGuests } from '../../../hosts/transform/other-guests.ts';
import { hashPage, type PageHash } from '../../../hosts/transform/page-hash.ts';
import { DedupScope } from '../../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { PagePath } from '../../support/page-path.ts';

/** XXH64's first two primes. */
const PRIME_1 = 0x9e3779b185ebca87n;
const PRIME_2 = 0xc2b2ae3d27d4eb4fn;
/** The second's inverse modulo 2^64. */
const INVERSE_2 = inverse(PRIME_2);
const STRIPE_WORDS = 4;

let path: PagePath | undefined;

afterEach(async () => {
  await path?.close();
  path = undefined;
});

function inverse(odd: bigint): bigint {
  let found = odd;
  // Newton's iteration doubles the bits that are right, from three on.
  for (let bits = 3; bits < 64; bits *= 2) found = BigInt.asUintN(64, found * (2n - odd * found));
  return found;
}

/** What a word of a lane makes of what came before it there. */
function lane(before: bigint, word: bigint): bigint {
  const sum = BigInt.asUintN(64, before + word * PRIME_2);
  return BigInt.asUintN(64, ((sum << 31n) | (sum >> 33n)) * PRIME_1);
}

/** Two pages that collide. */
function collidingPages(): [Buffer, Buffer] {
  const one = new BigUint64Array(PAGE_BYTES / 8).fill(0x0123456789abcdefn);
  const other = one.slice();
  other[0] = 0xfedcba9876543210n;
  const start = BigInt.asUintN(64, PRIME_1 + PRIME_2);
  const difference = lane(start, one[0] as bigint) - lane(start, other[0]);
  other[STRIPE_WORDS] = BigInt.asUintN(64, (one[STRIPE_WORDS] as bigint) + difference * INVERSE_2);
  return [Buffer.from(one.buffer), Buffer.from(other.buffer)];
}

function hashOf(content: Uint8Array): PageHash {
  const hash = { low: 0, high: 0 };
  hashPage(content, hash);
  return hash;
}

test('two such pages arrive as they are, and a true copy as a copy', async () => {
  const [one, other] = collidingPages();
  expect(hashOf(one)).toEqual(hashOf(other));
  expect(Buffer.compare(one, other)).not.toBe(0);
  path = await PagePath.make({ pageCount: 4, transforms: { dedup: DedupScope.DEDUP_SCOPE_GUEST } });
  for (const [page, content] of [one, other, other, one].entries()) {
    path.source.set(content, page * PAGE_BYTES);
  }
  await path.send([0, 1, 2, 3]);
  expect(Buffer.compare(path.destination, path.source)).toBe(0);
  const dedup = path.reports.source.find(({ name }) => name === 'dedup');
  expect(dedup).toMatchObject({ hits: 1n, misses: 3n });
});

test('a host that has the one does not take it for the other', () => {
  const [one, other] = collidingPages();
  const contents = HeldContents.allocate(8);
  const memory = new SharedArrayBuffer(PAGE_BYTES);
  const others = new OtherGuests({ contents, self: { id: 1, memory }, others: [] });
  new Uint8Array(memory).set(one);
  others.placed(0, one);
  const into = new Uint8Array(PAGE_BYTES);
  expect(others.copy(nameContent(one, hashOf(one)), into)).toBe(true);
  expect(others.copy(nameContent(other, hashOf(other)), into)).toBe(false);
});
