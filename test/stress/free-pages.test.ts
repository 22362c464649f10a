/**
 * Free page hints under load. A guest's kernel takes and frees pages as fast as it can, and reports those that
 * are free, while a mover copies the others to a replica, as a migration does. In the right order the replica
 * ends up with every page in use; when the mover takes the reports before it takes the dirty marks off, a page
 * is lost, which shows that the first test would notice.
 */

import { afterEach, expect, test } from 'vitest';
import { FreeList } from '../../hosts/guest/free-list.ts';
import { FREE_COMMAND, FreeQuestions } from '../../hosts/guest/free-reports.ts';
import type { Guest } from '../../hosts/guest/guest.ts';
import { collectDirtyPages, PageTable } from '../../hosts/guest/page-table.ts';
import { pageCountOf } from '../../hosts/guest/shared-guest.ts';
import { PageSet } from '../../hosts/migration/page-set.ts';
import { PAGE_BYTES, PAGE_WORDS } from '../../proto/page.ts';
import { allocationSeedWord, checkAllocation } from '../../workloads/allocation.ts';
import { Guests, guestSpec } from '../unit/guest/specs.ts';

const ROUNDS = 200;
/** In the wrong order a loss comes in one of the first few rounds; this is far more than that. */
const ROUNDS_MAX = 100_000;

const guests = new Guests();
afterEach(() => guests.destroyAll());

/** A guest whose kernel is busy, and a copy of its memory that is to be kept up to date, but for free pages. */
class Subject {
  readonly guest: Guest;
  readonly list: FreeList;
  readonly #questions: FreeQuestions;
  readonly #pageTable: PageTable;
  readonly #pages: Uint32Array;
  readonly #memory: Int32Array;
  readonly #replica: Int32Array;

  static async create(): Promise<Subject> {
    const spec = guestSpec({ kind: 'idle' });
    const content = { ...spec.content!, free: 0.95, freeChurnPagesPerS: 200_000 };
    return new Subject(await guests.create({ ...spec, content }));
  }

  private constructor(guest: Guest) {
    this.guest = guest;
    this.list = new FreeList(guest.shared);
    this.#questions = new FreeQuestions(guest.shared);
    this.#pageTable = new PageTable(guest.shared.pageTable, pageCountOf(guest.spec));
    this.#pages = new Uint32Array(pageCountOf(guest.spec));
    this.#memory = new Int32Array(guest.shared.memory);
    this.#replica = new Int32Array(this.#memory.length);
  }

  /** One round of a migration. */
  async round(): Promise<void> {
    this.#questions.stop();
    const count = this.#collect();
    this.#questions.ask(FREE_COMMAND.REPORT);
    this.#copy(count, await this.#reported());
  }

  /** The same in the wrong order. */
  async hastyRound(): Promise<void> {
    this.#questions.ask(FREE_COMMAND.REPORT);
    const free = await this.#reported();
    this.#copy(this.#collect(), free);
  }

  /** The last round. Answers a page in use that the copy has not got. */
  lostPage(): number | undefined {
    const { control, spec } = this.guest;
    control.requestPause();
    control.waitParked();
    this.#questions.stop();
    this.#copy(this.#collect(), new PageSet(this.#pages.length));
    const seed = allocationSeedWord(spec.seed);
    const inUse = Array.from({ length: this.list.pageCount }, (_, index) => this.list.firstPage + index);
    return inUse.find((page) => {
      const allocation = this.list.allocationOf(page);
      return allocation !== undefined && checkAllocation(this.#replica, seed, page, allocation) !== undefined;
    });
  }

  #collect(): number {
    return collectDirtyPages(this.#pageTable, this.guest.control, this.#pages);
  }

  /** The first reports that come. */
  async #reported(): Promise<PageSet> {
    const free = new PageSet(this.#pages.length);
    while (free.size === 0) {
      await new Promise(setImmediate);
      this.#questions.take((firstPage, pageCount) => free.addRun(firstPage, pageCount));
    }
    return free;
  }

  #copy(count: number, free: PageSet): void {
    for (const page of this.#pages.subarray(0, count)) {
      const start = page * PAGE_WORDS;
      if (!free.has(page)) this.#replica.set(this.#memory.subarray(start, start + PAGE_BYTES / 4), start);
    }
  }
}

/** Moves the guest's memory over and over; answers the round in which the copy lacked a page, if there was one. */
async function roundOfLoss(
  subject: Subject,
  rounds: number,
  move: () => Promise<void>,
): Promise<number | undefined> {
  for (let round = 1; round <= rounds; round++) {
    subject.guest.control.resume();
    await move();
    await move();
    if (subject.lostPage() !== undefined) return round;
  }
  return undefined;
}

test(`no page in use is lost in ${ROUNDS} rounds when marks are taken off before reports are asked for`, async () => {
  const subject = await Subject.create();
  expect(await roundOfLoss(subject, ROUNDS, () => subject.round())).toBeUndefined();
  expect(subject.list.allocated).toBeGreaterThan(subject.list.pageCount);
  expect((await subject.guest.audit()).faults).toEqual([]);
});

test('a page in use is lost when reports are taken before the marks are taken off', async () => {
  const subject = await Subject.create();
  const round = await roundOfLoss(subject, ROUNDS_MAX, () => subject.hastyRound());
  expect(round, `no page was lost in ${ROUNDS_MAX} rounds`).toBeDefined();
  // The guest itself lost nothing: only the copy did.
  expect((await subject.guest.audit()).faults).toEqual([]);
});
