/**
 * Goal: a page that is told as a copy of another gets exactly the bytes that were to be sent, whatever the
 * guest writes meanwhile, in whatever order channels arrive, and however the hash collides. What is said of
 * other guests' pages (sets of hashes in shared memory) answers only what was put in.
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PageTable } from '../../hosts/guest/page-table.ts';
import { HeldContents } from '../../hosts/transform/held-contents.ts';
import { type HashPage, hashPage, type PageHash } from '../../hosts/transform/page-hash.ts';
import { SentContents } from '../../hosts/transform/sent-contents.ts';
import { NO_TWIN, Twins } from '../../hosts/transform/twins.ts';
import { PAGE_BYTES } from '../../proto/page.ts';

const PAGES = 12;
/** Few contents, so that pages are often alike. */
const CONTENTS = 4;

/** Every content has one of two hashes. */
const collidingHash: HashPage = (content, into) => {
  into.low = (content[0] as number) & 1;
  into.high = 0;
};

const write = fc.record({ page: fc.nat(PAGES - 1), content: fc.integer({ min: 1, max: CONTENTS }) });
/**
 * What the guest writes before each page of a round is taken, and before it is looked up; and how many pages
 * are sent.
 */
const round = fc.record({
  before: fc.array(fc.array(write, { maxLength: 2 }), { maxLength: PAGES }),
  between: fc.array(fc.array(write, { maxLength: 1 }), { maxLength: PAGES }),
  sent: fc.integer({ min: 0, max: PAGES }),
  order: fc.array(fc.nat(3), { maxLength: 40 }),
});

interface Message {
  readonly page: number;
  readonly content: Uint8Array;
  readonly twin: number;
}

describe('a twin within the guest', () => {
  test.each([
    ['XXH64', hashPage, 1],
    ['a hash that collides', collidingHash, 1],
    ['XXH64, on three channels', hashPage, 3],
    ['a hash that collides, on three channels', collidingHash, 3],
  ])('is what the destination holds when it is told so: %s', (_, hashOf, channels) => {
    let twins = 0;
    fc.assert(
      fc.property(fc.array(round, { minLength: 1, maxLength: 6 }), (rounds) => {
        twins += play(rounds, hashOf, channels);
      }),
      { numRuns: 300 },
    );
    expect(twins).toBeGreaterThan(100);
  });
});

/** A migration between two models of memory. Answers how many twins there were. */
function play(
  rounds: readonly (typeof round extends fc.Arbitrary<infer T> ? T : never)[],
  hashOf: HashPage,
  channels: number,
): number {
  const memory = new SharedArrayBuffer(PAGES * PAGE_BYTES);
  const source = new Uint8Array(memory);
  const destination = new Uint8Array(PAGES * PAGE_BYTES);
  const pageTable = new PageTable(new SharedArrayBuffer(Math.ceil(PAGES / 8) * 8), PAGES);
  const channelOf = (page: number): number => page % channels;
  const twins = new Twins(memory, pageTable, channelOf);
  const pageOf = (bytes: Uint8Array, page: number): Uint8Array =>
    bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  const store = (writes: readonly { page: number; content: number }[] = []): void => {
    for (const { page, content } of writes) {
      pageTable.markDirty(page);
      pageOf(source, page).fill(content);
    }
  };
  const pages = new Uint32Array(PAGES);
  const hash: PageHash = { low: 0, high: 0 };
  let found = 0;
  pageTable.markAllDirty();
  for (const [index, { before, between, sent, order }] of rounds.entries()) {
    const number = index + 1;
    const count = pageTable.collectDirty(pages);
    twins.collected(pages.subarray(0, count));
    const queues: Message[][] = Array.from({ length: channels }, () => []);
    const deliver = (channel: number): void => {
      const message = queues[channel]?.shift();
      if (message === undefined) return;
      const { page, content, twin } = message;
      const bytes = twin === NO_TWIN ? content : pageOf(destination, twin);
      expect(Buffer.compare(bytes, content)).toBe(0);
      pageOf(destination, page).set(bytes);
    };
    for (let position = 0; position < Math.min(count, sent); position++) {
      const page = pages[position] as number;
      store(before[position]);
      const content = pageOf(source, page).slice();
      store(between[position]);
      hashOf(content, hash);
      const twin = twins.find(page, content, hash, number);
      if (twin !== NO_TWIN) found++;
      twins.sent(page, number);
      twins.offer(page, hash);
      queues[channelOf(page)]?.push({ page, content, twin });
      deliver((order[position] ?? 0) % channels);
    }
    // Those that were not sent in time are dirty again, unless they are forgotten, as a hybrid does.
    for (let position = sent; position < count && number % 2 === 0; position++) {
      pageTable.markDirty(pages[position] as number);
    }
    for (const channel of order) deliver(channel % channels);
    for (let channel = 0; channel < channels; channel++) {
      while ((queues[channel]?.length ?? 0) > 0) deliver(channel);
    }
  }
  return found;
}

const hashes = fc.record({ low: fc.nat(40), high: fc.nat(3) });

describe('contents in shared memory', () => {
  test('the set of what was sent has nothing that was not put in, and what was deleted no more', () => {
    const action = fc.record({ kind: fc.constantFrom('add', 'delete', 'has'), hash: hashes });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
        const contents = new SentContents(SentContents.allocate(64));
        const model = new Set<string>();
        for (const { kind, hash } of actions) {
          const key = `${hash.low}/${hash.high}`;
          if (kind === 'add') {
            contents.add(hash);
            model.add(key);
            // The hash of nothing but zeroes looks like an empty place, and is never there.
            expect(contents.has(hash)).toBe(key !== '0/0');
          } else if (kind === 'delete') {
            contents.delete(hash);
            model.delete(key);
            expect(contents.has(hash)).toBe(false);
          } else if (contents.has(hash)) {
            expect(model.has(key)).toBe(true);
          }
        }
      }),
    );
  });

  test('the index of what is held answers with the page that was last put in for a hash, or with none', () => {
    const action = fc.record({
      kind: fc.constantFrom('put', 'delete', 'find'),
      hash: hashes,
      guest: fc.integer({ min: 1, max: 5 }),
      page: fc.nat(100),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
        const contents = new HeldContents(HeldContents.allocate(32));
        const model = new Map<string, { guest: number; page: number }>();
        for (const { kind, hash, guest, page } of actions) {
          const key = `${hash.low}/${hash.high}`;
          if (kind === 'put') {
            contents.put(hash, guest, page);
            model.set(key, { guest, page });
            expect(contents.find(hash)).toEqual({ guest, page });
          } else if (kind === 'delete') {
            contents.delete(hash);
            model.delete(key);
            expect(contents.find(hash)).toBeUndefined();
          } else {
            const found = contents.find(hash);
            if (found !== undefined) expect(found).toEqual(model.get(key));
          }
        }
      }),
    );
  });
});
