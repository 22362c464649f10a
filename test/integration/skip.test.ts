/**
 * Goal: a page that a round leaves for later is sent in time, and the guest moves whole. Method: real
 * migrations; each is held in the middle of its first round until the guest has written much of what is still
 * to be sent.
 */

import { afterEach, expect, test } from 'vitest';
import { DEFAULT_CONVERGENCE } from '../../proto/convergence.ts';
import { MigrationPhase, Skip } from '../../proto/generated/godwit/v1/migration.ts';
import { EnginePair, guestSpec, holdAt, optionsOf, until } from './engine-pair.ts';

let pair: EnginePair | undefined;
afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

test.each([
  ['pre-copy', 'dirtied-again', Skip.SKIP_DIRTIED_AGAIN, false],
  ['pre-copy', 'working-set and dirty-last', Skip.SKIP_WORKING_SET, true],
  ['hybrid', 'dirtied-again and dirty-last', Skip.SKIP_DIRTIED_AGAIN, true],
] as const)('a guest moves whole by %s, skip: %s', async (technique, _, skip, dirtyLast) => {
  const spec = guestSpec('hot-cold', 4000, 2);
  const options = optionsOf(technique, {
    convergence: { ...DEFAULT_CONVERGENCE, skip, dirtyLast },
    failpoints: holdAt('round-1'),
    // Several rounds, on every machine.
    ...{ downtimeLimitMs: 0, maxRounds: 6, switchAfterRounds: 4, maxBandwidthBytesPerS: 32 * 1024 * 1024 },
  });
  pair = await EnginePair.create(spec, options);
  const { source, destination } = pair;
  await pair.begin();
  await until(() => pair?.progress?.failpoint === 'round-1');
  const { pageWrites } = source.series.counts();
  await until(() => source.series.counts().pageWrites > pageWrites + 2000);
  pair.outgoing.releaseFailpoint();
  const { outcome } = await pair.ends();
  expect(outcome).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_COMPLETED, reason: '' });
  const { rounds, normalPages, zeroPages } = outcome.report!;
  expect(Number(rounds[0]!.skippedPages)).toBeGreaterThan(0);
  expect(rounds.at(-1)!.skippedPages).toBe(0n);
  expect(rounds.reduce((sum, { pages }) => sum + pages, 0n)).toBe(
    technique === 'hybrid' ? sumOfRounds() : normalPages + zeroPages,
  );
  expect((await destination.audit()).faults).toEqual([]);

  /** Pages that followed are of no round. */
  function sumOfRounds(): bigint {
    return normalPages + zeroPages - outcome.report!.postcopy!.missingPages;
  }
});
