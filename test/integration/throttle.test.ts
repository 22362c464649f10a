/**
 * Goal: a guest that is slowed so that it converges runs at its full rate afterwards, however the migration ends.
 * Method: both ends of real migrations in one process, which end in each way while the guest is slowed; then it
 * works without having to stand still once more.
 */

import type { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Guest } from '../../hosts/guest/guest.ts';
import { COUNTER_OPERATIONS, COUNTER_THROTTLED_MS, countersOf } from '../../hosts/guest/shared-guest.ts';
import { DEFAULT_CONVERGENCE, THROTTLES, type ThrottleName } from '../../proto/convergence.ts';
import { type MigrationOptions, MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { EnginePair, guestSpec, holdAt, optionsOf, THREADS, until } from './engine-pair.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_FAILED, MIGRATION_PHASE_CANCELLED } = MigrationPhase;
const HOUR_MS = 3_600_000;
/** 40,000 pages/s are 160 MB/s; the link carries 16. */
const FAST = guestSpec('uniform', 40_000, 2);
const SLOW_LINK = { maxBandwidthBytesPerS: 16_000_000, maxRounds: 1000, totalTimeLimitMs: HOUR_MS };
const HOPELESS = { ...SLOW_LINK, downtimeLimitMs: 0 };
/**
 * So few pages, however fast the machine is; without a throttle nearly all of 1024 are dirty after each round.
 */
const CONVERGING = { ...HOPELESS, minDirtyPages: 150n };
const RULES = THROTTLES.names.filter((rule) => rule !== 'none');

let pair: EnginePair | undefined;

afterEach(async () => {
  vi.restoreAllMocks();
  await pair?.end();
  pair = undefined;
});

async function make(
  rule: ThrottleName,
  changes: Partial<MigrationOptions>,
  spec = FAST,
): Promise<EnginePair> {
  const convergence = {
    ...DEFAULT_CONVERGENCE,
    throttle: THROTTLES.of(rule),
    throttlePeriodMs: 10,
    cpuThrottleIncrement: 40,
    vcpuDirtyLimitBytesPerS: 4_000_000,
  };
  pair = await EnginePair.create(spec, optionsOf('pre-copy', { convergence, ...changes }));
  return pair;
}

/** In the middle of a round that never ends well, and slowed. */
async function throttled(rule: ThrottleName): Promise<{ moving: EnginePair; cut: () => void }> {
  const moving = await make(rule, HOPELESS);
  const relay = await moving.relay(await moving.listen());
  await moving.connect(relay.port);
  await until(() => moving.source.control.throttle.isOn);
  await until(() => sum(moving.source, COUNTER_THROTTLED_MS) > 0);
  return { moving, cut: relay.cut };
}

function counted(guest: Guest, counter: number): number[] {
  const vcpus = [...Array(guest.spec.vcpuCount).keys()];
  return vcpus.map((vcpu) => countersOf(guest.shared, vcpu)[counter] as number);
}

function sum(guest: Guest, counter: number): number {
  return counted(guest, counter).reduce((total, value) => total + value, 0);
}

async function operates(guest: Guest, operations: number): Promise<void> {
  const before = counted(guest, COUNTER_OPERATIONS);
  await until(() =>
    counted(guest, COUNTER_OPERATIONS).every((count, vcpu) => count >= before[vcpu]! + operations),
  );
}

/** It works, and does not stand still for anybody. */
async function expectFree(guest: Guest): Promise<void> {
  expect(guest.running).toBe(true);
  expect(guest.control.throttle.isOn).toBe(false);
  // What it stood still before is in the counters when it has gone on.
  await operates(guest, 1);
  const before = sum(guest, COUNTER_THROTTLED_MS);
  await operates(guest, 2000);
  expect(sum(guest, COUNTER_THROTTLED_MS)).toBe(before);
  expect((await guest.audit()).faults).toEqual([]);
}

describe.each(RULES)('with %s', (rule) => {
  test('a guest that would never converge does, and runs free at the destination', async () => {
    const moving = await make(rule, CONVERGING);
    const { source } = moving;
    await moving.begin();
    const { outcome } = await moving.ends();
    const { convergence, throttle, decisions } = outcome.report!;
    expect(outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
    expect(convergence).toBe('converged');
    expect(throttle).toMatchObject({ rule });
    expect(throttle!.maxPercent).toBeGreaterThan(0);
    expect(throttle!.vcpuThrottledMs.some((ms) => ms > 0)).toBe(true);
    expect(throttle!.vcpuWriteFaults.some((faults) => faults > 0n)).toBe(true);
    expect(decisions.at(0)).toMatchObject({ rule });
    expect(decisions.at(-1)).toMatchObject({ rule, what: 'lets go of the guest' });
    expect(source.control.throttle.isOn).toBe(false);
    await expectFree(moving.destination);
    expect(sum(moving.destination, COUNTER_THROTTLED_MS)).toBe(0);
  });
});

test('a guest whose migration is cancelled runs free', async () => {
  const { moving } = await throttled('auto-converge');
  expect(moving.outgoing.cancel('enough')).toBe(true);
  const { phase, report } = await moving.outcome();
  expect(phase).toBe(MIGRATION_PHASE_CANCELLED);
  expect(report!.decisions.at(-1)).toMatchObject({ rule: 'auto-converge', what: 'lets go of the guest' });
  await expectFree(moving.source);
});

test('a guest whose destination is gone runs free', async () => {
  const { moving, cut } = await throttled('sdps');
  cut();
  const { phase, report } = await moving.outcome();
  expect(phase).toBe(MIGRATION_PHASE_FAILED);
  expect(report!.throttle!.vcpuThrottledMs.some((ms) => ms > 0)).toBe(true);
  await expectFree(moving.source);
});

test('a guest whose mover dies runs free', async () => {
  const take = vi.spyOn(THREADS, 'take');
  const { moving } = await throttled('stunning');
  const mover = take.mock.results[0]!.value as Worker;
  await mover.terminate();
  const { phase, reason } = await moving.outcome();
  expect(phase).toBe(MIGRATION_PHASE_FAILED);
  expect(reason).toContain('source mover has ended');
  await expectFree(moving.source);
});

test('a guest whose handover the witness refuses runs free, and was slowed until then', async () => {
  const moving = await make('stunning', CONVERGING);
  let wasSlowed = false;
  moving.beginHandover = () => {
    wasSlowed = moving.source.control.throttle.isOn;
    return Promise.reject(new Error('epoch 3 is over'));
  };
  await moving.begin();
  expect((await moving.ends()).outcome.phase).toBe(MIGRATION_PHASE_FAILED);
  expect(wasSlowed).toBe(true);
  await expectFree(moving.source);
});

test('a guest whose handover is cancelled in the pause runs free', async () => {
  const moving = await make('stunning', {
    ...CONVERGING,
    failpoints: holdAt('before-commit'),
  });
  await moving.begin();
  await until(() => moving.progress?.failpoint === 'before-commit');
  expect(moving.outgoing.cancel('enough')).toBe(true);
  expect((await moving.ends()).outcome.phase).toBe(MIGRATION_PHASE_CANCELLED);
  await expectFree(moving.source);
});

test('a guest that is switched to post-copy by hand runs free', async () => {
  const { moving } = await throttled('dirty-limit');
  moving.outgoing.switchToPostCopy();
  const { outcome } = await moving.ends();
  expect(outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
  expect(outcome.report!.convergence).toBe('switch-by-hand');
  await expectFree(moving.destination);
});

test('a guest that converges by itself is not slowed', async () => {
  const moving = await make('stunning', {}, guestSpec('hot-cold', 200, 2));
  await moving.begin();
  const { outcome } = await moving.ends();
  const rest = { vcpuThrottledMs: [0, 0], maxPercent: 0 };
  expect(outcome.report!.throttle).toMatchObject({ rule: 'stunning', ...rest });
  expect(outcome.report!.decisions).toEqual([]);
});
