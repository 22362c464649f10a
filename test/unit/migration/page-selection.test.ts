/** Which pages a round sends and in which order, on a page table that the test writes itself. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PageTable } from '../../../hosts/guest/page-table.ts';
import { allocateGuest } from '../../../hosts/guest/shared-guest.ts';
import { PageSelection } from '../../../hosts/migration/precopy/page-selection.ts';
import type { SourceParts } from '../../../hosts/migration/source-parts.ts';
import { DEFAULT_CONVERGENCE } from '../../../proto/convergence.ts';
import { type Convergence, Skip } from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { Random } from '../../../workloads/random.ts';
import { guestSpec } from '../guest/specs.ts';

const PAGES = 256;

/** A round's sender without a network: it asks for each page in turn, while the guest writes others. */
class Rounds {
  readonly table: PageTable;
  readonly selection: PageSelection;
  readonly #pages: Uint32Array;
  #isFirst = true;

  constructor(convergence: Partial<Convergence>, pageCount = PAGES) {
    const shared = allocateGuest({ ...guestSpec(), memoryBytes: BigInt(pageCount * PAGE_BYTES) });
    this.#pages = new Uint32Array(pageCount);
    const options = {
      ...defaultMigrationOptions('pre-copy'),
      convergence: { ...DEFAULT_CONVERGENCE, ...convergence },
    };
    this.table = new PageTable(shared.pageTable, pageCount);
    this.selection = new PageSelection({ data: { shared, options } as SourceParts['data'] });
  }

  write(...pages: number[]): void {
    for (const page of pages) this.table.markDirty(page);
  }

  /** Sends a round; answers the pages that went, in their order. @param meanwhile before each page's turn */
  send(meanwhile: (page: number) => void = () => {}, isPaused = false): number[] {
    const { selection } = this;
    selection.beforeCollection();
    let count = this.table.collectDirty(this.#pages);
    if (this.#isFirst) selection.firstRoundBegins(this.#pages, count, isPaused);
    else selection.roundBegins(this.#pages, count, isPaused);
    if (this.#isFirst) count = this.#pages.length;
    this.#isFirst = false;
    const sent: number[] = [];
    for (const page of this.#pages.subarray(0, count)) {
      meanwhile(page);
      if (selection.leaves(page)) selection.left(page);
      else sent.push(page);
    }
    selection.roundEnded();
    return sent;
  }
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

describe('skip: dirtied-again', () => {
  test('a page that is dirty when its turn comes waits for the next round, and for no longer than the pause', () => {
    const rounds = new Rounds({ skip: Skip.SKIP_DIRTIED_AGAIN });
    const again = [3, 100, 255];
    expect(rounds.send((page) => page === 0 && rounds.write(...again))).toEqual(
      range(0, PAGES).filter((page) => !again.includes(page)),
    );
    expect(rounds.selection.counts.skipped).toBe(3);
    expect(rounds.send((page) => rounds.write(page))).toEqual([]);
    expect(rounds.send(undefined, true)).toEqual(again);
  });

  test('of pages that are written at random as many are sent as the closed form says', () => {
    // Nathan et al. (SoCC 2015) as reconstructed: sent = (r / l) ln(1 + l n / r).
    const { pageCount, writesPerS, pagesPerS } = { pageCount: 20_000, writesPerS: 2, pagesPerS: 30_515.2 };
    const expected = (pagesPerS / writesPerS) * Math.log(1 + (writesPerS * pageCount) / pagesPerS);
    expect(expected).toBeCloseTo(12_779.8, 1);
    const random = new Random(1n, 0);
    const writtenAtS = Float64Array.from(
      { length: pageCount },
      () => -Math.log(1 - random.fraction()) / writesPerS,
    );
    const rounds = new Rounds({ skip: Skip.SKIP_DIRTIED_AGAIN }, pageCount);
    let sentCount = 0;
    const sent = rounds.send((page) => {
      if (writtenAtS[page]! < sentCount / pagesPerS) rounds.write(page);
      else sentCount++;
    });
    // Three standard deviations.
    expect(Math.abs(sent.length - expected)).toBeLessThan(
      3 * Math.sqrt(expected * (1 - expected / pageCount)),
    );
    expect(rounds.selection.counts.skipped).toBe(pageCount - sent.length);
  });
});

describe('skip: working-set', () => {
  test('a page that was written in two rounds, one after the other, waits while there is other work', () => {
    const rounds = new Rounds({ skip: Skip.SKIP_WORKING_SET });
    const [hot, others, more] = [[7, 8], range(50, 110), range(120, 180)];
    rounds.send();
    rounds.write(...hot);
    expect(rounds.send()).toEqual(hot);
    rounds.write(...hot, ...others);
    expect(rounds.send()).toEqual(others);
    // They are pending, as what decides about the next round sees.
    expect(rounds.table.countDirty()).toBe(2);
    rounds.write(...more);
    // Nobody has written them since they were left: they are hot no more, until they are again.
    expect(rounds.send()).toEqual([...hot, ...more]);
    rounds.write(...hot, ...others);
    expect(rounds.send()).toEqual([...hot, ...others]);
    rounds.write(...hot, ...more);
    expect(rounds.send()).toEqual(more);
  });

  test('what is hot goes like the rest when there is nothing else to send', () => {
    const rounds = new Rounds({ skip: Skip.SKIP_WORKING_SET });
    for (const _ of range(0, 4)) {
      rounds.send();
      rounds.write(1, 2, 3);
    }
    expect(rounds.send()).toEqual([1, 2, 3]);
  });
});

describe('dirty-last', () => {
  test('in round 1 those go last that the guest has written, later those that it writes in round after round', () => {
    const rounds = new Rounds({ dirtyLast: true });
    rounds.write(4, 5);
    expect(rounds.send()).toEqual([...range(0, 4), ...range(6, PAGES), 4, 5]);
    rounds.write(10, 20);
    expect(rounds.send()).toEqual([10, 20]);
    rounds.write(10, 30, 40);
    expect(rounds.send()).toEqual([30, 40, 10]);
  });
});

test('whatever is written when, each page is sent after its last write', () => {
  const convergence = fc.record({
    skip: fc.constantFrom(Skip.SKIP_NONE, Skip.SKIP_DIRTIED_AGAIN, Skip.SKIP_WORKING_SET),
    dirtyLast: fc.boolean(),
  });
  const writes = fc.array(fc.tuple(fc.nat(PAGES - 1), fc.nat(PAGES - 1)), { maxLength: 200 });
  fc.assert(
    fc.property(convergence, fc.array(writes, { maxLength: 6 }), (options, script) => {
      const rounds = new Rounds(options);
      const written = new Uint32Array(PAGES);
      const sent = new Uint32Array(PAGES);
      let clock = 0;
      for (const [index, each] of [...script, []].entries()) {
        const isPaused = index === script.length;
        const order = rounds.send((turn) => {
          for (const [at, page] of each) {
            if (at !== turn) continue;
            rounds.write(page);
            written[page] = ++clock;
          }
          // What goes now holds what was written up to now.
          if (!rounds.selection.leaves(turn)) sent[turn] = ++clock;
        }, isPaused);
        expect(new Set(order).size).toBe(order.length);
      }
      expect(range(0, PAGES).filter((page) => written[page]! > sent[page]!)).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
