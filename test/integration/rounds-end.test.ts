/**
 * Goal: what ends the rounds of a pre-copy, and what follows, holds for real guests and real sockets: each stop rule
 * moves its guest whole, a timeout works in the middle of a round, and a pause that is longer than allowed is
 * announced before the guest stands still. Method: both ends of real migrations in one process.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { DEFAULT_CONVERGENCE, DOWNTIME_RAMPS, STOP_RULES } from '../../proto/convergence.ts';
import {
  type Convergence,
  type MigrationOptions,
  MigrationPhase,
  OnTimeout,
} from '../../proto/generated/godwit/v1/migration.ts';
import { EnginePair, guestSpec, optionsOf } from './engine-pair.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_FAILED } = MigrationPhase;
const { ON_TIMEOUT_ABORT, ON_TIMEOUT_POST_COPY } = OnTimeout;
const HOUR_MS = 3_600_000;
/** Everything is dirty again after each round. */
const FAST = guestSpec('uniform', 40_000);
/** The link carries an eighth of that; no pause is short enough. */
const HOPELESS = { maxBandwidthBytesPerS: 20_000_000, downtimeLimitMs: 0, totalTimeLimitMs: HOUR_MS };

let pair: EnginePair | undefined;

afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

async function begun(
  convergence: Partial<Convergence>,
  changes: Partial<MigrationOptions>,
  technique = 'pre-copy',
): Promise<EnginePair> {
  const options = optionsOf(technique, {
    convergence: { ...DEFAULT_CONVERGENCE, ...convergence },
    ...changes,
  });
  pair = await EnginePair.create(FAST, options);
  await pair.begin();
  return pair;
}

/** What rules did, in words. */
function told({ decisions }: { decisions: readonly { rule: string; what: string }[] }): string[] {
  return decisions.map(({ rule, what }) => `${rule} ${what}`);
}

describe('a guest that writes faster than the link carries', () => {
  test.each(STOP_RULES.names)('moves whole by the rule %s, and its long pause is announced', async (name) => {
    const stopRule = STOP_RULES.of(name);
    const changes = { ...HOPELESS, maxRounds: 6 };
    const moving = await begun({ stopRule, stallProgressTimeoutMs: 100 }, changes);
    const notes: string[] = [];
    moving.beginHandover = async () => {
      // Before the pause.
      notes.push(moving.progress?.note ?? '', String(moving.source.running));
    };
    const { outcome } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    const { convergence, rounds } = outcome.report!;
    expect(rounds.length).toBeLessThanOrEqual(7);
    const pause = told(outcome.report!).at(-1)!;
    expect(pause).toMatch(/ pauses the guest for about [\d.]+ ms, longer than its downtime limit of 0 ms \(/);
    expect(pause).toContain(`(${convergence}): `);
    expect(notes).toEqual([pause, 'true']);
    expect((await moving.destination.audit()).faults).toEqual([]);
  });

  test('has its limit raised by a ramp until what remains fits, unannounced', async () => {
    // All of its memory takes 200 ms.
    const ramp = { downtimeRamp: DOWNTIME_RAMPS.of('nova'), downtimeRampStepMs: 100 };
    const moving = await begun(ramp, { ...HOPELESS, downtimeLimitMs: HOUR_MS / 2000, maxRounds: 1000 });
    const { outcome } = await moving.ends();
    expect(outcome.report).toMatchObject({ convergence: 'converged' });
    const values = outcome.report!.decisions.map(({ value }) => value);
    expect(values[0]).toBe(180);
    expect(values).toEqual(values.toSorted((a, b) => a - b));
    expect(told(outcome.report!).join()).not.toContain('pauses');
    expect(moving.progress?.note).toBe('');
  });
});

describe('a timeout', () => {
  /** The first round alone would take longer than any test. */
  const SLOW = { ...HOPELESS, maxBandwidthBytesPerS: 100_000, maxRounds: 1000 };
  /** Of a guest of 4 MiB: a started GiB is one. */
  const completion = { completionTimeoutPerGibMs: 500 };

  test.each([1, 4])('goes on as post-copy from the middle of a round, on %i channels', async (channels) => {
    const moving = await begun(completion, { ...SLOW, channels, onTimeout: ON_TIMEOUT_POST_COPY });
    const { outcome, result } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    const { convergence, rounds, postcopy } = outcome.report!;
    expect(convergence).toBe('completion-timeout');
    expect(rounds[0]!.pages).toBeLessThan(1024n);
    expect(rounds.at(-1)).toMatchObject({ final: true, pages: 0n });
    expect(postcopy!.missingPages).toBeGreaterThanOrEqual(1024n - rounds[0]!.pages);
    expect(result.report.postcopy!.placedPages).toBe(postcopy!.missingPages);
    expect(told(outcome.report!)).toEqual([
      'on-timeout goes on as post-copy (completion-timeout): the 0.5 s for a guest of this size are over',
    ]);
    expect((await moving.destination.audit()).faults).toEqual([]);
  });

  test('gives up in the middle of a round, and the guest runs on', async () => {
    const moving = await begun(completion, { ...SLOW, onTimeout: ON_TIMEOUT_ABORT });
    const { outcome } = await moving.ends();
    expect(outcome.phase).toBe(MIGRATION_PHASE_FAILED);
    expect(outcome.reason).toMatch(/does not converge \(completion-timeout\): in round 1/);
    expect(outcome.report!.convergence).toBe('completion-timeout');
    expect(moving.source.running).toBe(true);
    expect((await moving.source.audit()).faults).toEqual([]);
  });

  test('without progress pauses the guest and copies the rest', async () => {
    // As long as there are clean pages, more is written than sent.
    const moving = await begun({ progressTimeoutMs: 1 }, { ...SLOW, maxBandwidthBytesPerS: 1_000_000 });
    const { outcome } = await moving.ends();
    expect(outcome.report).toMatchObject({ convergence: 'progress-timeout' });
    expect(outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
    expect(moving.progress?.note).toMatch(/^on-timeout pauses .* \(progress-timeout\): what remains has not/);
    expect((await moving.destination.audit()).faults).toEqual([]);
  });
});

test('a hybrid switches when its stop rule ends the rounds', async () => {
  const convergence = { stopRule: STOP_RULES.of('xen-v2') };
  const moving = await begun(convergence, { ...HOPELESS, switchAfterRounds: 0 }, 'hybrid');
  const { outcome } = await moving.ends();
  expect(outcome.report).toMatchObject({ convergence: 'max-iterations' });
  expect(outcome.report!.rounds).toHaveLength(6);
  expect(outcome.report!.postcopy!.missingPages).toBeGreaterThan(0n);
  expect(told(outcome.report!)).toEqual(['xen-v2 goes on as post-copy (max-iterations): 5 rounds']);
  expect((await moving.destination.audit()).faults).toEqual([]);
});
