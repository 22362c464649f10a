/**
 * Goal: a guest whose free pages are left out is whole wherever it runs, though its kernel takes free pages
 * into use all the while; and whatever ends the migration early, the guest that stays has given nothing away.
 * Method: real migrations in one process, and the audit, which knows what each page in use must hold.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { FreeList } from '../../hosts/guest/free-list.ts';
import { FREE_COMMAND, FreeReporter } from '../../hosts/guest/free-reports.ts';
import type { Guest } from '../../hosts/guest/guest.ts';
import { DEFAULT_CONVERGENCE } from '../../proto/convergence.ts';
import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import {
  FreePages,
  type MigrationOptions,
  MigrationPhase,
} from '../../proto/generated/godwit/v1/migration.ts';
import { poolPageCount, workloadPageCount } from '../../proto/guest-network.ts';
import { EnginePair, guestSpec, holdAt, optionsOf, until } from './engine-pair.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_CANCELLED } = MigrationPhase;
const { FREE_PAGES_NONE, FREE_PAGES_HINTS, FREE_PAGES_BALLOON } = FreePages;
const CHURN_PAGES_PER_S = 4000;

const pairs: EnginePair[] = [];
afterEach(async () => {
  await Promise.all(pairs.splice(0).map((pair) => pair.end()));
});

/** 1,024 pages, of which 614 are the kernel's. */
function spec(churnPagesPerS = CHURN_PAGES_PER_S): GuestSpec {
  const guest = guestSpec('hot-cold', 1000, 2);
  return {
    ...guest,
    content: { ...guest.content!, zero: 0.1, free: 0.6, freeChurnPagesPerS: churnPagesPerS },
  };
}

function freeing(
  technique: string,
  freePages: FreePages,
  changes: Partial<MigrationOptions> = {},
): MigrationOptions {
  return optionsOf(technique, { convergence: { ...DEFAULT_CONVERGENCE, freePages }, ...changes });
}

function keep(pair: EnginePair): EnginePair {
  pairs.push(pair);
  return pair;
}

/** Waits until the guest's kernel has taken so many more pages into use. */
async function untilTaken(guest: Guest, pages: number): Promise<void> {
  const list = new FreeList(guest.shared);
  const goal = list.allocated + pages;
  await until(() => list.allocated >= goal);
}

/** What is in use is right, and that is what was to be in use. */
async function expectClean(guest: Guest): Promise<void> {
  await guest.pause();
  const list = new FreeList(guest.shared);
  const { faults, pagesChecked } = await guest.audit();
  expect(faults).toEqual([]);
  expect(Number(pagesChecked)).toBe(workloadPageCount(guest.spec) + list.allocated - list.freed);
  await guest.resume();
}

/** Nobody asks the guest for anything, and it has given nothing back. */
async function expectAtEase(guest: Guest): Promise<void> {
  expect(new FreeReporter(guest.shared).command).toBe(FREE_COMMAND.NOTHING);
  const list = new FreeList(guest.shared);
  await until(() => list.balloonFrom === list.balloonTo);
}

describe('a guest whose kernel takes and frees pages moves whole', () => {
  test.each([
    ['pre-copy', 'none', FREE_PAGES_NONE],
    ['pre-copy', 'hints', FREE_PAGES_HINTS],
    ['pre-copy', 'balloon', FREE_PAGES_BALLOON],
    ['post-copy', 'none', FREE_PAGES_NONE],
    ['post-copy', 'hints', FREE_PAGES_HINTS],
    ['post-copy', 'balloon', FREE_PAGES_BALLOON],
    ['hybrid', 'hints', FREE_PAGES_HINTS],
  ] as const)('%s, %s', async (technique, _, kind) => {
    // Round 1 takes long enough for reports to come, whatever the machine does meanwhile.
    const options = freeing(technique, kind, { maxBandwidthBytesPerS: 16 * 1024 * 1024, maxRounds: 5 });
    const pair = keep(await EnginePair.create(spec(), options));
    // All of the kernel's pages have been in use, and a quarter is.
    await untilTaken(pair.source, poolPageCount(pair.source.spec));
    await pair.begin();
    const { outcome, result } = await pair.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expect(result).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    const { freePages } = outcome.report!;
    if (kind === FREE_PAGES_NONE) expect(freePages).toBeUndefined();
    else expect(freePages?.kind).toBe(kind);
    // A balloon may be used up by the time at which its pages' turn comes.
    if (kind === FREE_PAGES_HINTS) expect(freePages!.leftOutPages).toBeGreaterThan(0n);
    await untilTaken(pair.destination, poolPageCount(pair.destination.spec));
    await expectAtEase(pair.destination);
    await expectClean(pair.destination);
  });
});

test('the free list moves with its guest: what was left out twice is right in the end', async () => {
  const options = freeing('pre-copy', FREE_PAGES_HINTS, { maxBandwidthBytesPerS: 16 * 1024 * 1024 });
  const first = keep(await EnginePair.create(spec(), options));
  await untilTaken(first.source, 100);
  const before = new FreeList(first.source.shared).allocated;
  await first.begin();
  await first.ends();
  expect(new FreeList(first.destination.shared).allocated).toBeGreaterThanOrEqual(before);
  const second = keep(await EnginePair.of(first.destination, freeing('post-copy', FREE_PAGES_HINTS)));
  await second.begin();
  expect((await second.ends()).outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
  await untilTaken(second.destination, poolPageCount(second.destination.spec));
  await expectClean(second.destination);
});

describe('a guest of which nothing is taken into use', () => {
  test.each(['post-copy', 'stop-and-copy'])(
    '%s sends all pages but those that are free',
    async (technique) => {
      const guest = spec(0);
      const pair = keep(await EnginePair.create(guest, freeing(technique, FREE_PAGES_HINTS)));
      await pair.begin();
      const { freePages, normalPages, zeroPages, decisions } = (await pair.ends()).outcome.report!;
      const pool = BigInt(poolPageCount(guest));
      expect(freePages).toMatchObject({ freePages: pool, leftOutPages: pool, reusedPages: 0n });
      expect(normalPages + zeroPages).toBe(BigInt(workloadPageCount(guest)));
      expect(decisions).toMatchObject([{ rule: 'hints', value: Number(pool) }]);
      await expectClean(pair.destination);
    },
  );

  test('post-copy sends what is not in its balloon', async () => {
    const pair = keep(await EnginePair.create(spec(0), freeing('post-copy', FREE_PAGES_BALLOON)));
    await pair.begin();
    const { freePages, postcopy } = (await pair.ends()).outcome.report!;
    const pool = poolPageCount(pair.source.spec);
    // A sixteenth is kept.
    const given = BigInt(pool - Math.floor(pool / 16));
    expect(freePages).toMatchObject({ reportedPages: given, leftOutPages: given, reusedPages: 0n });
    expect(postcopy!.missingPages).toBe(pair.source.spec.memoryBytes / 4096n - given);
    await expectAtEase(pair.destination);
    await expectClean(pair.destination);
  });

  test('a paused guest says nothing of its free pages, and moves all the same', async () => {
    const pair = keep(await EnginePair.create(spec(), freeing('pre-copy', FREE_PAGES_BALLOON)));
    await pair.source.pause();
    await pair.begin();
    expect((await pair.ends()).outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
    await expectClean(pair.destination);
  });
});

describe('a migration that is cancelled in the middle of round 1 leaves a guest that is whole and at ease', () => {
  test.each([['hints', FREE_PAGES_HINTS] as const, ['balloon', FREE_PAGES_BALLOON] as const])(
    '%s',
    async (_, kind) => {
      const pair = keep(
        await EnginePair.create(spec(), freeing('pre-copy', kind, { failpoints: holdAt('round-1') })),
      );
      await pair.begin();
      await until(() => pair.progress?.failpoint === 'round-1');
      expect(new FreeReporter(pair.source.shared).command).not.toBe(FREE_COMMAND.NOTHING);
      await untilTaken(pair.source, poolPageCount(pair.source.spec));
      expect(pair.outgoing.cancel('the test says so')).toBe(true);
      expect((await pair.ends()).outcome.phase).toBe(MIGRATION_PHASE_CANCELLED);
      await expectAtEase(pair.source);
      await untilTaken(pair.source, poolPageCount(pair.source.spec));
      await expectClean(pair.source);
      // And it can be moved after all.
      const again = keep(await EnginePair.of(pair.source, freeing('hybrid', kind)));
      await again.begin();
      expect((await again.ends()).outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
      await expectClean(again.destination);
    },
  );
});
