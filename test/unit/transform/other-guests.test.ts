/**
 * Goal: whatever the index of a host's contents says, a page is filled only with the content that was named.
 * Method: guests' memories side by side, entries that are true, past, torn or made up.
 */

import { describe, expect, test } from 'vitest';
import { nameContent } from '../../../hosts/transform/content-name.ts';
import { HeldContents } from '../../../hosts/transform/held-contents.ts';
import { type LentGuest, OtherGuests } from '../../../hosts/transform/other-guests.ts';
import { hashPage, type PageHash } from '../../../hosts/transform/page-hash.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';

const PAGES = 4;

function guest(id: number): LentGuest {
  return { id, memory: new SharedArrayBuffer(PAGES * PAGE_BYTES) };
}

function fill({ memory }: LentGuest, page: number, byte: number): Uint8Array {
  return new Uint8Array(memory, page * PAGE_BYTES, PAGE_BYTES).fill(byte);
}

function hashOf(content: Uint8Array): PageHash {
  const hash = { low: 0, high: 0 };
  hashPage(content, hash);
  return hash;
}

function nameOf(byte: number): Buffer {
  const content = new Uint8Array(PAGE_BYTES).fill(byte);
  return nameContent(content, hashOf(content));
}

/** Two movers of one host: one whose guest has arrived, and one whose guest wants its contents. */
function host() {
  const contents = HeldContents.allocate(64);
  const first = guest(1);
  const second = guest(2);
  return {
    first,
    index: new HeldContents(contents),
    holder: new OtherGuests({ contents, self: first, others: [] }),
    seeker: new OtherGuests({ contents, self: second, others: [first] }),
  };
}

describe('a content that is named to a host', () => {
  test('is copied from the guest that was sent it', () => {
    const { first, holder, seeker } = host();
    holder.placed(3, fill(first, 3, 7));
    const into = new Uint8Array(PAGE_BYTES);
    expect(seeker.copy(nameOf(7), into)).toBe(true);
    expect(into.every((byte) => byte === 7)).toBe(true);
    expect(seeker.copy(nameOf(8), into)).toBe(false);
  });

  test('is not there any more when the guest has written the page', () => {
    const { first, index, holder, seeker } = host();
    holder.placed(3, fill(first, 3, 7));
    fill(first, 3, 9);
    expect(seeker.copy(nameOf(7), new Uint8Array(PAGE_BYTES))).toBe(false);
    // Nobody is led there again.
    expect(index.find(hashOf(new Uint8Array(PAGE_BYTES).fill(7)))).toBeUndefined();
  });

  test('is not there any more when the guest is gone, and there again when another comes', () => {
    const { first, holder, seeker } = host();
    holder.placed(0, fill(first, 0, 7));
    seeker.gone(first.id);
    expect(seeker.copy(nameOf(7), new Uint8Array(PAGE_BYTES))).toBe(false);
    const third = guest(3);
    seeker.came(third);
    fill(third, 2, 7);
    expect([...seeker.hashes(100)].filter((hash) => hash !== undefined)).toHaveLength(1);
    expect(seeker.copy(nameOf(7), new Uint8Array(PAGE_BYTES))).toBe(true);
  });

  test.each([
    ['a guest that never was', 99, 0],
    ['a page behind the guest’s last', 1, PAGES],
    ['a page of another content', 1, 1],
    ['a page far outside', 1, 0xffff_ffff],
  ])('is not taken from an entry that names %s', (_, id, page) => {
    const { first, index, seeker } = host();
    fill(first, 1, 1);
    index.put(hashOf(new Uint8Array(PAGE_BYTES).fill(7)), id, page);
    expect(seeker.copy(nameOf(7), new Uint8Array(PAGE_BYTES))).toBe(false);
  });

  test('is not taken for another that has the same hash', () => {
    const { first, index, seeker } = host();
    fill(first, 0, 1);
    const wanted = new Uint8Array(PAGE_BYTES).fill(7);
    // As if the hash collided: the entry is right by its hash, and the page holds something else.
    index.put(hashOf(wanted), first.id, 0);
    expect(seeker.copy(nameContent(wanted, hashOf(wanted)), new Uint8Array(PAGE_BYTES))).toBe(false);
  });
});

describe('what a host offers', () => {
  test('is each content of its other guests once, without pages of zeroes, and no more pages than it may', () => {
    const { first, seeker } = host();
    fill(first, 0, 5);
    fill(first, 1, 5);
    fill(first, 3, 6);
    const offered = [...seeker.hashes(100)].filter((hash) => hash !== undefined);
    expect(offered).toEqual([hashOf(fill(first, 0, 5)), hashOf(fill(first, 3, 6))]);
    expect([...seeker.hashes(2)]).toHaveLength(2);
    const into = new Uint8Array(PAGE_BYTES);
    expect(seeker.copy(nameOf(6), into)).toBe(true);
    expect(into.every((byte) => byte === 6)).toBe(true);
  });
});
