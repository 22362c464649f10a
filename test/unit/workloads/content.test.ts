/**
 * The boot content: shares of the classes, copies, what a compressor takes away, and the same bytes every
 * time.
 */

import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { PAGE_BYTES, PAGE_WORDS } from '../../../proto/page.ts';
import { type Content, createContent, ORIGINAL_COUNT, type PageClass } from '../../../workloads/content.ts';
import { LANE_COUNT, LANE_WORDS } from '../../../workloads/stamp.ts';

const PAGES = 4096;
const MODEL = { zero: 0.2, duplicate: 0.1, shared: 0.15, compressible: 0.5 };
const pages = Array.from({ length: PAGES }, (_, page) => page);

function pageBytes(content: Content, page: number): Buffer {
  const words = new Uint32Array(PAGE_WORDS).fill(0xffffffff);
  content.fillPage(words, page);
  return Buffer.from(words.buffer);
}

function pagesOfClass(content: Content, pageClass: PageClass): number[] {
  return pages.filter((page) => content.pageClass(page) === pageClass);
}

function distinctPages(content: Content, pageClass: PageClass): Set<string> {
  return new Set(pagesOfClass(content, pageClass).map((page) => pageBytes(content, page).toString('base64')));
}

describe('shares', () => {
  it.each([
    MODEL,
    { zero: 0, duplicate: 0, shared: 0, compressible: 0 },
    { zero: 1, duplicate: 0, shared: 0, compressible: 0 },
    { zero: 0.1, duplicate: 0.2, shared: 0.7, compressible: 0 },
    { zero: 1 / 3, duplicate: 1 / 3, shared: 1 / 3, compressible: 0 },
    { zero: 0.001, duplicate: 0.002, shared: 0.003, compressible: 0 },
  ])('of %o hold to within three pages of 4096', (model) => {
    const content = createContent(model, 3n);
    for (const pageClass of ['zero', 'duplicate', 'shared'] as const) {
      const count = pagesOfClass(content, pageClass).length;
      expect(Math.abs(count - model[pageClass] * PAGES), pageClass).toBeLessThanOrEqual(3);
    }
  });
});

describe('classes', () => {
  const content = createContent(MODEL, 3n);

  it('zero pages hold only zeroes, whatever was there', () => {
    expect(pageBytes(content, pagesOfClass(content, 'zero')[0] as number)).toEqual(Buffer.alloc(PAGE_BYTES));
  });

  it('duplicate pages are copies of a few pages, which other guests do not have', () => {
    const own = distinctPages(content, 'duplicate');
    const others = distinctPages(createContent(MODEL, 4n), 'duplicate');
    expect(own.size).toBe(ORIGINAL_COUNT);
    expect(own.isDisjointFrom(others)).toBe(true);
  });

  it('shared pages are copies of a few pages that every guest has, whatever its seed', () => {
    const own = distinctPages(content, 'shared');
    expect(own.size).toBe(ORIGINAL_COUNT);
    expect(distinctPages(createContent({ ...MODEL, compressible: 0.1 }, 4n), 'shared')).toEqual(own);
  });

  it('shared pages of a larger image are as many, and guests have most of it in common', () => {
    const model = { ...MODEL, shared: 0.6, imageBytes: BigInt(512 * PAGE_BYTES) };
    const own = distinctPages(createContent(model, 3n), 'shared');
    const others = distinctPages(createContent(model, 4n), 'shared');
    expect(own.size).toBeGreaterThan(480);
    expect(own.union(others).size).toBeLessThanOrEqual(512);
  });

  it('unique pages differ from each other and from those of another seed', () => {
    const own = distinctPages(content, 'unique');
    expect(own.size).toBe(pagesOfClass(content, 'unique').length);
    expect(own.isDisjointFrom(distinctPages(createContent(MODEL, 4n), 'unique'))).toBe(true);
  });

  it('lie elsewhere for another seed', () => {
    const other = createContent(MODEL, 4n);
    expect(pagesOfClass(other, 'zero')).not.toEqual(pagesOfClass(content, 'zero'));
  });
});

describe('bytes', () => {
  it.each([0, 0.5, 0.9])('of unique pages lose the share %d to a compressor', (compressible) => {
    const content = createContent({ ...MODEL, compressible }, 5n);
    // Codes, and the marks of where the runs of the eight lanes begin.
    const overhead = 100;
    const due = (1 - compressible) * PAGE_BYTES;
    for (const page of pagesOfClass(content, 'unique').slice(0, 50)) {
      const bytes = pageBytes(content, page);
      const distinctWords = new Set(new Uint32Array(bytes.buffer, bytes.byteOffset, PAGE_WORDS));
      // All random words, the one that repeats, and the lanes' versions, in so far as they are there.
      expect(Math.abs(distinctWords.size - due / 4)).toBeLessThan(10);
      const { length } = deflateSync(bytes);
      expect(length).toBeGreaterThan(due * 0.9);
      expect(length).toBeLessThan((due + overhead) * 1.1);
    }
  });

  it('are the same in whatever pieces memory is filled', () => {
    const whole = new SharedArrayBuffer(256 * PAGE_BYTES);
    createContent(MODEL, 6n).fillMemory(whole, 0, 256);
    const pieces = new SharedArrayBuffer(256 * PAGE_BYTES);
    for (const [from, to] of [
      [100, 256],
      [0, 1],
      [1, 100],
    ] as const) {
      createContent(MODEL, 6n).fillMemory(pieces, from, to);
    }
    expect(Buffer.from(pieces).equals(Buffer.from(whole))).toBe(true);
    const byPage = pages.slice(0, 256).map((page) => pageBytes(createContent(MODEL, 6n), page));
    expect(Buffer.concat(byPage).equals(Buffer.from(whole))).toBe(true);
  });

  it('leave the version of every lane 0, and are the lanes that an audit expects', () => {
    const content = createContent({ ...MODEL, compressible: 0 }, 7n);
    const words = new Uint32Array(PAGE_WORDS);
    const lane = new Uint32Array(LANE_WORDS).fill(1);
    for (const page of pages.slice(0, 128)) {
      content.fillPage(words, page);
      for (let vcpu = 0; vcpu < LANE_COUNT; vcpu++) {
        content.bootLane(page, vcpu, lane);
        expect(lane[0]).toBe(0);
        expect(lane).toEqual(words.slice(vcpu * LANE_WORDS, (vcpu + 1) * LANE_WORDS));
      }
    }
  });
});
