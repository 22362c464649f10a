/**
 * Free pages against a model: whatever the order in which a kernel takes, frees and reports pages, and a mover
 * collects, learns and copies, no page in use is lost; and each of the hazard rules is needed: without it some
 * order loses one. The kernel, the queue of its reports and the mover's rule are the real ones, in one thread.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ControlBlock } from '../../hosts/guest/control-block.ts';
import { FreeList } from '../../hosts/guest/free-list.ts';
import { GuestKernel } from '../../hosts/guest/guest-kernel.ts';
import { KERNEL_LIMITS } from '../../hosts/guest/limits.ts';
import { collectDirtyPages, PageTable } from '../../hosts/guest/page-table.ts';
import { allocateGuest, pageCountOf } from '../../hosts/guest/shared-guest.ts';
import { VcpuControl } from '../../hosts/guest/vcpu-control.ts';
import { VcpuMemory } from '../../hosts/guest/vcpu-memory.ts';
import { PageSet } from '../../hosts/migration/page-set.ts';
import { FreePageRule } from '../../hosts/migration/precopy/free-pages.ts';
import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { FreePages } from '../../proto/generated/godwit/v1/migration.ts';
import { poolPageCount } from '../../proto/guest-network.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { allocationSeedWord, checkAllocation } from '../../workloads/allocation.ts';
import { guestSpec } from '../unit/guest/specs.ts';

const PAGES = 32;

/** What goes wrong on purpose. */
type Fault = 'none' | 'asks-before-it-collects' | 'does-not-stop' | 'writes-without-a-mark';

/** A step of the kernel's: it takes so many pages, or does what it is asked; or of the mover's. */
const STEP = fc.oneof(
  fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 1, max: 9 }) }),
  fc.constant({ kind: 'answer' as const }),
  fc.constant({ kind: 'learn' as const }),
  fc.record({ kind: fc.constant('copy' as const), count: fc.integer({ min: 1, max: PAGES }) }),
  fc.constant({ kind: 'round' as const }),
);
type Step = typeof STEP extends fc.Arbitrary<infer T> ? T : never;

/** A guest without threads, and a mover that copies its pages. */
class Subject {
  readonly spec: GuestSpec;
  readonly list: FreeList;
  readonly #shared;
  readonly #control: ControlBlock;
  readonly #pageTable: PageTable;
  readonly #kernel: GuestKernel;
  readonly #rule: FreePageRule;
  readonly #fault: Fault;
  readonly #pages = new Uint32Array(PAGES);
  readonly #replica: Int32Array;
  readonly #toSend = PageSet.all(PAGES);
  #guestTimeMs = 0;
  #isAsked = false;

  constructor(kind: FreePages, fault: Fault) {
    const spec = { ...guestSpec(), memoryBytes: BigInt(PAGES * PAGE_BYTES) };
    this.spec = { ...spec, content: { ...spec.content!, free: 0.75, freeChurnPagesPerS: 1000 } };
    this.#fault = fault;
    this.#shared = allocateGuest(this.spec);
    this.list = new FreeList(this.#shared);
    this.#control = new ControlBlock(this.#shared.control, 1);
    this.#pageTable = new PageTable(this.#shared.pageTable, pageCountOf(this.spec));
    this.#kernel = GuestKernel.of(this.#shared, new VcpuMemory(this.#shared, 0))!;
    this.#rule = FreePageRule.of(kind, this.#shared)!;
    this.#replica = new Int32Array(this.#shared.memory.byteLength / 4);
    // Nobody executes: the handshake waits for nobody.
    new VcpuControl(this.#shared.control, 0).retire();
    void this.#rule.begin();
    this.#collect();
    this.#toSend.addRun(0, PAGES);
  }

  do(step: Step): void {
    switch (step.kind) {
      case 'take': {
        const marks = this.#pageTable.entries.slice();
        const before = this.list.allocated;
        this.#guestTimeMs = before + step.count;
        while (this.list.allocated < before + step.count) this.#kernel.work(this.#guestTimeMs);
        if (this.#fault === 'writes-without-a-mark') this.#pageTable.entries.set(marks);
        break;
      }
      case 'answer':
        this.#kernel.work(this.#guestTimeMs);
        break;
      case 'learn':
        this.#rule.learn();
        break;
      case 'copy':
        this.#copy(step.count);
        break;
      case 'round':
        this.#copy(PAGES);
        this.#collect();
        break;
    }
  }

  /** The pause: everything that is left is copied. Answers the pages in use that the copy has not got. */
  lostPages(): number[] {
    this.#copy(PAGES);
    this.#collect();
    this.#rule.guestStands();
    this.#copy(PAGES);
    const seed = allocationSeedWord(this.spec.seed);
    const lost: number[] = [];
    for (let page = PAGES - poolPageCount(this.spec); page < PAGES; page++) {
      const allocation = this.list.allocationOf(page);
      if (allocation !== undefined && checkAllocation(this.#replica, seed, page, allocation)) lost.push(page);
    }
    return lost;
  }

  #collect(): void {
    const isEarly = this.#fault === 'asks-before-it-collects';
    const stops = this.#fault !== 'does-not-stop';
    if (stops) this.#rule.beforeCollection();
    if (isEarly) {
      this.#rule.roundBegins();
      this.do({ kind: 'answer' });
      this.#rule.learn();
      this.do({ kind: 'take', count: 1 });
    }
    const count = collectDirtyPages(this.#pageTable, this.#control, this.#pages);
    const collected = this.#pages.subarray(0, count);
    this.#rule.collected(collected);
    for (const page of collected) this.#toSend.add(page);
    if (isEarly) return;
    if (stops || !this.#isAsked) this.#rule.roundBegins();
    else this.#rule.learn();
    this.#isAsked = true;
  }

  /** The next pages that are to be sent, but for those that are free. */
  #copy(count: number): void {
    for (let copied = 0; copied < count; copied++) {
      const page = this.#toSend.atOrAfter(0);
      if (page < 0) return;
      this.#toSend.delete(page);
      if (this.#rule.has(page)) this.#rule.left(page);
      else
        this.#replica.set(
          new Int32Array(this.#shared.memory, page * PAGE_BYTES, PAGE_BYTES / 4),
          page * 1024,
        );
    }
  }
}

function losesNothing(kind: FreePages, fault: Fault) {
  return fc.property(fc.array(STEP, { maxLength: 40 }), (steps) => {
    const subject = new Subject(kind, fault);
    for (const step of steps) subject.do(step);
    expect(subject.lostPages()).toEqual([]);
  });
}

const { FREE_PAGES_HINTS, FREE_PAGES_BALLOON } = FreePages;

describe('whatever the order in which pages are taken, freed, reported, collected and copied', () => {
  test.each([
    ['hints', FREE_PAGES_HINTS],
    ['balloon', FREE_PAGES_BALLOON],
  ] as const)('no page in use is lost by %s', (_, kind) => {
    fc.assert(losesNothing(kind, 'none'), { numRuns: 300 });
  });
});

describe('each rule is needed: a page in use is lost by some order', () => {
  test.each([
    [
      'when reports are asked for before the marks are taken off',
      FREE_PAGES_HINTS,
      'asks-before-it-collects',
    ],
    ['when they do not end before the marks are taken off', FREE_PAGES_HINTS, 'does-not-stop'],
    [
      'when a page that was reported is taken into use without a mark',
      FREE_PAGES_HINTS,
      'writes-without-a-mark',
    ],
    [
      'when a page of the balloon is taken into use without a mark',
      FREE_PAGES_BALLOON,
      'writes-without-a-mark',
    ],
  ] as const)('%s', (_, kind, fault) => {
    expect(fc.check(losesNothing(kind, fault), { numRuns: 3000 }).failed).toBe(true);
  });
});

test('the free list is the one of a queue: the page that was free for longest is taken next', () => {
  const operation = fc.constantFrom('allocate', 'free', 'inflate', 'deflate', 'move');
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const spec = { ...guestSpec(), memoryBytes: BigInt(PAGES * PAGE_BYTES) };
      const guest = { ...spec, content: { ...spec.content!, free: 0.4 } };
      let list = new FreeList(allocateGuest(guest));
      const pool = Array.from({ length: list.pageCount }, (_, index) => list.firstPage + index);
      const free = [...pool];
      const used: number[] = [];
      const visited = (visit: (each: (first: number, count: number) => void) => void): number[] => {
        const pages: number[] = [];
        visit((first, count) => pages.push(...Array.from({ length: count }, (_, index) => first + index)));
        return pages;
      };
      for (const [turn, each] of operations.entries()) {
        if (each === 'allocate' && free.length > 0) {
          // A page of the balloon is taken back first, as the kernel does.
          if (list.allocated >= list.balloonFrom && list.allocated < list.balloonTo) list.deflate(1);
          used.push(list.allocate());
          expect(used.at(-1)).toBe(free.shift());
        } else if (each === 'free' && used.length > 0) {
          list.free();
          free.push(used.shift()!);
        } else if (each === 'inflate') list.inflate(turn % KERNEL_LIMITS.allocationsAtOnce);
        else if (each === 'deflate') list.deflate(turn % 5);
        else if (each === 'move') {
          const there = new FreeList(allocateGuest(guest));
          there.load(list.save());
          list = there;
        }
        expect(visited((visit) => list.visitFree(visit))).toEqual(free);
        const unused = pool.filter((page) => list.allocationOf(page) === undefined);
        expect(new Set(unused)).toEqual(new Set(free));
        for (const page of visited((visit) => list.visitBalloon(visit))) expect(free).toContain(page);
      }
    }),
    { numRuns: 50 },
  );
});

test('a guest that has taken everything back gives back as much when it is asked once more', () => {
  const spec = guestSpec();
  const list = new FreeList(allocateGuest({ ...spec, content: { ...spec.content!, free: 0.5 } }));
  const given = list.inflate(8);
  expect(given).toBe(list.pageCount - 8);
  list.deflate(list.pageCount);
  expect(list.inflate(8)).toBe(given);
  expect(list.balloonTo - list.balloonFrom).toBe(given);
});

test('a free list that cannot be is refused', () => {
  const spec = guestSpec();
  const list = new FreeList(allocateGuest({ ...spec, content: { ...spec.content!, free: 0.5 } }));
  const wrong = [
    [],
    [0, 1, 0, 0],
    [200, 0, 0, 0],
    [Number.NaN, 0, 0, 0],
    [0.5, 0, 0, 0],
    [5, 0, 3, 9],
    [5, 2, 9, 400],
  ];
  for (const state of wrong)
    expect(() => list.load(Float64Array.from(state))).toThrow(/a free list of 128 pages/);
});
