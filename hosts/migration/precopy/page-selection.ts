/**
 * Which of the pages that were collected a round sends, and in which order: those that are free in the guest
 * are left out (free-pages.ts), those that `skip` names wait for a later round, and with `dirty-last` those go
 * last that are most likely to be written.
 *
 * A page that waits stays pending: it has its dirty mark, or gets it back when the round ends. So every page is
 * sent after its last write, at the latest in the pause, when none waits.
 *
 * - dirtied-again: a page that is dirty again when its turn comes would have to be sent once more anyway (Xen's
 *   xc_domain_save, which peeks into the dirty bitmap). It costs a plain load for each page.
 * - working-set: and a page that was written in each of the last rounds waits for the last one, while there is
 *   something else to send. When there is not, such pages go like others, so that rounds go on getting shorter
 *   and none is empty.
 */

import { convergenceOf, FREE_PAGES, SKIPS } from '../../../proto/convergence.ts';
import { type FreePages, type FreePagesReport, Skip } from '../../../proto/generated/godwit/v1/migration.ts';
import { PAGE_DIRTY, PageTable } from '../../guest/page-table.ts';
import { pageCountOf } from '../../guest/shared-guest.ts';
import type { PageFilter } from '../page-sender.ts';
import type { PageSet } from '../page-set.ts';
import type { SourceParts } from '../source-parts.ts';
import type { DecisionLog } from './decision-log.ts';
import { DirtyHistory } from './dirty-history.ts';
import { FreePageRule } from './free-pages.ts';

/** A page that was written in so many rounds, one after the other, is hot. */
const HOT_ROUNDS = 2;
/** So little is nothing: Xen ends its rounds then. */
const OTHER_PAGES_MIN = 50;

export class PageSelection implements PageFilter {
  /** Of the round that is under way, or was the last. */
  readonly counts = { skipped: 0, free: 0 };
  readonly #pageTable: PageTable;
  readonly #skip: Skip;
  readonly #freePages: FreePages;
  readonly #isDirtyLast: boolean;
  readonly #free: FreePageRule | undefined;
  readonly #history: DirtyHistory | undefined;
  /** In this round hot pages wait, and these did. */
  #isHolding = false;
  #held: number[] = [];
  #isPaused = false;

  constructor({ data }: Pick<SourceParts, 'data'>) {
    const { shared, options } = data;
    const { skip, dirtyLast, freePages } = convergenceOf(options);
    const pageCount = pageCountOf(shared.spec);
    this.#pageTable = new PageTable(shared.pageTable, pageCount);
    this.#skip = skip;
    this.#freePages = freePages;
    this.#isDirtyLast = dirtyLast;
    this.#free = FreePageRule.of(freePages, shared);
    if (dirtyLast || skip === Skip.SKIP_WORKING_SET) this.#history = new DirtyHistory(pageCount);
  }

  /** Before the first round, or the pause. */
  async begin(): Promise<void> {
    await this.#free?.begin();
  }

  /** Dirty marks are about to be taken off. */
  beforeCollection(): void {
    this.#free?.beforeCollection();
  }

  /** A round begins: its pages are the first so many, which were collected, in the order in which they are to go. */
  roundBegins(pages: Uint32Array, pageCount: number, isPaused: boolean): void {
    const collected = pages.subarray(0, pageCount);
    this.#free?.collected(collected);
    this.#history?.collected(collected);
    this.#begin(isPaused);
    if (isPaused) return;
    const hotCount = this.#history === undefined ? 0 : this.#countHot(collected);
    this.#isHolding = this.#skip === Skip.SKIP_WORKING_SET && pageCount - hotCount >= OTHER_PAGES_MIN;
    if (this.#isDirtyLast && hotCount > 0) putLast(collected, (page) => this.#isHot(page));
  }

  /**
   * The first round begins, of all pages.
   *
   * @param pages gets them; the first so many were collected: those that were written since the guest came to
   * this host
   */
  firstRoundBegins(pages: Uint32Array, writtenCount: number, isPaused: boolean): void {
    const written = new Uint8Array(this.#isDirtyLast && !isPaused ? pages.length : 0);
    if (written.length > 0) for (const page of pages.subarray(0, writtenCount)) written[page] = 1;
    for (let page = 0; page < pages.length; page++) pages[page] = page;
    this.#begin(isPaused);
    if (written.length > 0) putLast(pages, (page) => written[page] === 1);
  }

  #begin(isPaused: boolean): void {
    Object.assign(this.counts, { skipped: 0, free: 0 });
    this.#isPaused = isPaused;
    this.#isHolding = false;
    if (isPaused) this.#free?.guestStands();
    else this.#free?.roundBegins();
  }

  /** Now and then while a round is sent. */
  learn(): void {
    if (!this.#isPaused) this.#free?.learn();
  }

  /** What a pass asks about each page; undefined when all are sent. */
  get filter(): PageFilter | undefined {
    return this.#free === undefined && this.#skip === Skip.SKIP_NONE ? undefined : this;
  }

  /** Whether a page is not to be sent when its turn comes. */
  leaves(page: number): boolean {
    if (this.#free?.has(page) === true) return true;
    if (this.#isPaused || this.#skip === Skip.SKIP_NONE) return false;
    return this.#isDirty(page) || (this.#isHolding && this.#isHot(page));
  }

  left(page: number): void {
    if (this.#free?.has(page) === true) {
      this.counts.free++;
      this.#free.left(page);
      return;
    }
    this.counts.skipped++;
    if (this.#isHolding && this.#isHot(page)) this.#held.push(page);
  }

  /** Post-copy: of these pages none need follow that is free. The guest stands still. */
  leaveOutOf(pages: PageSet): void {
    this.#isPaused = true;
    const before = pages.size;
    this.#free?.guestStands();
    this.#free?.leaveOutOf(pages);
    this.counts.free = before - pages.size;
  }

  /** Its pages have been sent, and what was written meanwhile has been counted: what waits is pending again. */
  roundEnded(): void {
    for (const page of this.#held) {
      if (!this.#isDirty(page)) this.#history?.cooled(page);
      this.#pageTable.markDirty(page);
    }
    this.#held = [];
  }

  /** Says what was left of a round that has been sent. */
  note(round: number, log: DecisionLog): void {
    const { skipped, free } = this.counts;
    if (free > 0) {
      const rule = FREE_PAGES.nameOf(this.#freePages) ?? '';
      log.note(rule, `left ${free} pages out of round ${round}, since they are free`, free);
    }
    if (skipped > 0) {
      const rule = SKIPS.nameOf(this.#skip) ?? '';
      log.note(rule, `left ${skipped} pages of round ${round} for a later one`, skipped);
    }
  }

  /** The migration is over. */
  end(): void {
    this.#free?.end();
  }

  freePagesReport(): FreePagesReport | undefined {
    return this.#free?.report();
  }

  /** A plain look: who misses a mark that is just being set sends the page, and once more in the next round. */
  #isDirty(page: number): boolean {
    return ((this.#pageTable.entries[page] as number) & PAGE_DIRTY) !== 0;
  }

  #isHot(page: number): boolean {
    return (this.#history?.heatOf(page) ?? 0) >= HOT_ROUNDS;
  }

  #countHot(pages: Uint32Array): number {
    return pages.reduce((count, page) => count + Number(this.#isHot(page)), 0);
  }
}

/** Those of which it holds come behind the others; both stay in their order. */
function putLast(pages: Uint32Array, isLast: (page: number) => boolean): void {
  const last = pages.filter(isLast);
  pages.set(pages.filter((page) => !isLast(page)));
  pages.set(last, pages.length - last.length);
}
