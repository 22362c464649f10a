/**
 * Goal: what XBZRLE encodes is what it decodes, byte by byte as QEMU writes it; and whatever a liar sends as an
 * encoding either has a problem that is named or stays within the page. The cache holds only what was put for a page.
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyXbzrle, encodeXbzrle, XBZRLE_OVERFLOW, xbzrleProblem } from '../../hosts/transform/xbzrle.ts';
import { XbzrleCache } from '../../hosts/transform/xbzrle-cache.ts';
import { PAGE_BYTES } from '../../proto/page.ts';

/** Changes of a page: where, and what is xored onto it there. */
const changes = fc.array(
  fc.record({ at: fc.nat(PAGE_BYTES - 1), mask: fc.uint8Array({ minLength: 1, maxLength: 300 }) }),
  { maxLength: 12 },
);

function changed(page: Uint8Array, list: readonly { at: number; mask: Uint8Array }[]): Uint8Array {
  const result = page.slice();
  for (const { at, mask } of list) {
    for (const [index, bits] of mask.entries()) {
      if (at + index < PAGE_BYTES) result[at + index] = (result[at + index] as number) ^ bits;
    }
  }
  return result;
}

function patterned(seed: number): Uint8Array {
  return Uint8Array.from({ length: PAGE_BYTES }, (_, index) => Math.imul(index + seed, 0x9e3779b1) >>> 24);
}

describe('XBZRLE', () => {
  test('encodes QEMU’s example to the same bytes', () => {
    const previous = new Uint8Array(PAGE_BYTES);
    const current = new Uint8Array(PAGE_BYTES);
    const old = [...Array(15).keys()].map((index) => index + 5);
    previous.set([...old, 0x68, 0x00, 0x00, 0x6b, 0x00, 0x6d], 1001);
    current.set([...old.map((byte) => byte - 4), 0x68, 0x00, 0x00, 0x67, 0x00, 0x69], 1001);
    const into = new Uint8Array(PAGE_BYTES);
    const length = encodeXbzrle(previous, current, into);
    expect(Buffer.from(into.subarray(0, length)).toString('hex')).toBe(
      'e9070f0102030405060708090a0b0c0d0e0f030167010169',
    );
  });

  test('gives back every page, at any alignment, or says that the encoding is too long', () => {
    fc.assert(
      fc.property(
        changes,
        fc.nat(255),
        fc.nat(3),
        fc.integer({ min: 0, max: PAGE_BYTES }),
        (list, seed, shift, room) => {
          const previous = new Uint8Array(PAGE_BYTES + shift).subarray(shift);
          previous.set(patterned(seed));
          const current = changed(previous, list);
          const into = new Uint8Array(room + 1);
          into[room] = 0xaa;
          const length = encodeXbzrle(previous, current, into.subarray(0, room));
          expect(into[room]).toBe(0xaa);
          if (length === XBZRLE_OVERFLOW) {
            expect(encodeXbzrle(previous, current, new Uint8Array(2 * PAGE_BYTES))).toBeGreaterThan(room);
            return;
          }
          const encoding = into.subarray(0, length);
          expect(xbzrleProblem(encoding)).toBeUndefined();
          applyXbzrle(encoding, previous);
          expect(Buffer.compare(previous, current)).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('is empty for a page that did not change, and overflows for one that changed throughout', () => {
    const page = patterned(1);
    const into = new Uint8Array(PAGE_BYTES);
    expect(encodeXbzrle(page, page.slice(), into)).toBe(0);
    expect(
      encodeXbzrle(
        page,
        page.map((byte) => ~byte),
        into,
      ),
    ).toBe(XBZRLE_OVERFLOW);
  });

  test('never takes an encoding that would leave the page or that lacks bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (encoding) => {
        if (xbzrleProblem(encoding) !== undefined) return;
        const room = new Uint8Array(3 * PAGE_BYTES).fill(7);
        const page = room.subarray(PAGE_BYTES, 2 * PAGE_BYTES);
        expect(() => applyXbzrle(encoding, page)).not.toThrow();
        expect(room.subarray(0, PAGE_BYTES).every((byte) => byte === 7)).toBe(true);
        expect(room.subarray(2 * PAGE_BYTES).every((byte) => byte === 7)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test.each<[string, number[], RegExp]>([
    ['reaches behind the page', [0xff, 0x1f, 0x02, 1, 1], /ends at byte 4097/],
    ['lacks its bytes', [0x00, 0x05, 1, 2], /lacks 3 bytes/],
    ['has an empty changed run', [0x01, 0x00], /changed run is empty/],
    ['has an empty unchanged run behind the first', [0x00, 0x01, 9, 0x00, 0x01, 9], /unchanged run is empty/],
    ['ends in the middle of a length', [0x80], /no length/],
    ['has a length of three bytes', [0x80, 0x80, 0x01, 0x01, 1], /no length/],
    ['has no changed run', [0x05], /no length/],
  ])('names the problem of an encoding that %s', (_, bytes, problem) => {
    expect(xbzrleProblem(Uint8Array.from(bytes))).toMatch(problem);
  });
});

describe('the cache for deltas', () => {
  const PAGES = 16;
  const PLACES = 4;
  const action = fc.record({
    kind: fc.constantFrom('put', 'zero', 'drop', 'find', 'round'),
    page: fc.nat(PAGES - 1),
    content: fc.nat(255),
  });

  test('answers with what was last put for a page, or not at all', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const cache = new XbzrleCache(PLACES * PAGE_BYTES, PAGES);
        const sent = new Map<number, number>();
        let round = 1;
        for (const { kind, page, content } of actions) {
          if (kind === 'round') round++;
          else if (kind === 'drop') cache.drop(page);
          else if (kind === 'find') {
            const found = cache.find(page, round);
            if (found !== undefined) {
              expect(found.byteLength).toBe(PAGE_BYTES);
              expect(found.every((byte) => byte === sent.get(page))).toBe(true);
            }
          } else {
            const byte = kind === 'zero' ? 0 : content;
            if (kind === 'zero') cache.putZero(page, round);
            else cache.put(page, new Uint8Array(PAGE_BYTES).fill(byte), round);
            sent.set(page, byte);
          }
        }
      }),
    );
  });

  test('leaves a page its place for two rounds after it was last used, whoever else wants it', () => {
    const cache = new XbzrleCache(PLACES * PAGE_BYTES, PAGES);
    const page = new Uint8Array(PAGE_BYTES);
    cache.put(1, page, 1);
    cache.put(1 + PLACES, page, 2);
    expect(cache.find(1, 2)).toBeDefined();
    cache.put(1 + PLACES, page, 3);
    expect(cache.find(1 + PLACES, 3)).toBeUndefined();
    cache.put(1 + PLACES, page, 4);
    expect(cache.find(1 + PLACES, 4)).toBeDefined();
    expect(cache.find(1, 4)).toBeUndefined();
  });

  test('refuses a size that is no power of two', () => {
    expect(() => new XbzrleCache(3 * PAGE_BYTES, PAGES)).toThrow(/12288 bytes.*power of two/);
    expect(() => new XbzrleCache(0, PAGES)).toThrow(/power of two/);
  });
});
