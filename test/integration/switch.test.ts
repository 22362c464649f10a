/**
 * Goal: somebody turns a running migration into post-copy at any time before its guest is paused, and connects a paused
 * one again; the guest is whole in the end, each missing page having crossed the wire once. Method: both ends of real
 * migrations in one process, held at failpoints or cut, so that what is asked for meets them where it is to.
 */

import { afterEach, describe, expect, test } from 'vitest';
import type { RpcError } from '../../proto/errors.ts';
import {
  type MigrationOptions,
  MigrationPhase,
  OnTimeout,
  PostcopyPush,
  PostcopyRecovery,
} from '../../proto/generated/godwit/v1/migration.ts';
import type { FailpointName } from '../../proto/names.ts';
import { EnginePair, guestSpec, holdAt, optionsOf, type Relay, until } from './engine-pair.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_POSTCOPY_PAUSED } = MigrationPhase;
const PAGES = 1024n;
const HOUR_MS = 3_600_000;
/** 40,000 pages/s are 160 MB/s; the link carries 8. */
const HOPELESS = { maxBandwidthBytesPerS: 8_000_000, maxRounds: 1000, totalTimeLimitMs: HOUR_MS };
const FAST = guestSpec('uniform', 40_000, 2);

let pair: EnginePair | undefined;

afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

async function make(technique: string, changes: Partial<MigrationOptions>): Promise<EnginePair> {
  pair = await EnginePair.create(FAST, optionsOf(technique, changes));
  return pair;
}

async function heldAt(technique: string, point: FailpointName, changes = {}): Promise<EnginePair> {
  const moving = await make(technique, { ...HOPELESS, failpoints: holdAt(point), ...changes });
  await moving.begin();
  await until(() => moving.progress?.failpoint === point);
  return moving;
}

/** It ended as post-copy, by hand, and nothing was lost or came twice. */
async function expectSwitched(moving: EnginePair): Promise<void> {
  const { outcome, result } = await moving.ends();
  expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
  expect(result).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
  const { convergence, switchRequestedAtMs, pauseRequestedAtMs, postcopy, rounds } = outcome.report!;
  expect(convergence).toBe('switch-by-hand');
  expect(switchRequestedAtMs).toBeGreaterThan(0);
  expect(pauseRequestedAtMs).toBeGreaterThan(switchRequestedAtMs);
  expect(rounds.at(-1)).toMatchObject({ final: true, pages: 0n });
  expect(postcopy!.missingPages).toBeGreaterThan(0n);
  expect(postcopy!.pushedPages + postcopy!.demandedPages).toBe(postcopy!.missingPages);
  expect(result.report.postcopy!.placedPages).toBe(postcopy!.missingPages);
  expect(moving.isFreed).toBe(true);
  expect((await moving.destination.audit()).faults).toEqual([]);
}

describe('a migration goes on as post-copy when somebody says so', () => {
  test.each([1, 4])('a pre-copy that never converges, on %i channels', async (channels) => {
    const moving = await make('pre-copy', { ...HOPELESS, channels });
    await moving.begin();
    await until(() => (moving.progress?.round ?? 0) >= 2);
    moving.outgoing.switchToPostCopy();
    await until(() => (moving.progress?.switchRequestedMs ?? 0) > 0);
    await expectSwitched(moving);
  });

  test('a pre-copy that has not sent anything yet', async () => {
    const moving = await heldAt('pre-copy', 'setup');
    moving.outgoing.switchToPostCopy();
    moving.outgoing.releaseFailpoint();
    await expectSwitched(moving);
  });

  test('a pre-copy in the middle of a round, whose other half then follows', async () => {
    const moving = await heldAt('pre-copy', 'round-1', { postcopyPreempt: false });
    moving.outgoing.switchToPostCopy();
    moving.outgoing.releaseFailpoint();
    await expectSwitched(moving);
    const { rounds, postcopy } = (await moving.outcome()).report!;
    expect(rounds[0]!.pages).toBeLessThan(PAGES);
    expect(postcopy!.missingPages).toBeGreaterThanOrEqual(PAGES - rounds[0]!.pages);
  });

  test('a hybrid before its own switch', async () => {
    const moving = await heldAt('hybrid', 'round-2', { switchAfterRounds: 500 });
    moving.outgoing.switchToPostCopy();
    moving.outgoing.releaseFailpoint();
    await expectSwitched(moving);
  });
});

test.each<[string, FailpointName, Partial<MigrationOptions>, RegExp]>([
  ['stop-and-copy', 'setup', {}, /stop-and-copy pauses the guest before it sends anything/],
  ['post-copy', 'setup', {}, /it is post-copy from its beginning/],
  ['pre-copy', 'final-pages', { maxRounds: 1 }, /its guest is being paused already/],
  ['pre-copy', 'after-commit', { maxRounds: 1 }, /it is past its commit point/],
  ['hybrid', 'before-commit', {}, /it has switched by itself already/],
  [
    'pre-copy',
    'postcopy-active',
    { maxRounds: 1, onTimeout: OnTimeout.ON_TIMEOUT_POST_COPY },
    /it has switched by itself already/,
  ],
])('a %s at %s cannot be switched, and says why', async (technique, point, changes, why) => {
  const moving = await heldAt(technique, point, changes);
  expect(() => moving.outgoing.switchToPostCopy()).toThrow(why);
  moving.outgoing.releaseFailpoint();
  const { outcome } = await moving.ends();
  expect(outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
  expect(outcome.report!.switchRequestedAtMs).toBe(0);
});

test('a migration is switched once, and not when it is being cancelled', async () => {
  const moving = await heldAt('pre-copy', 'round-1');
  moving.outgoing.switchToPostCopy();
  expect(() => moving.outgoing.switchToPostCopy()).toThrow(/switched by hand already/);
  expect(moving.outgoing.cancel('enough')).toBe(true);
  expect(() => moving.outgoing.switchToPostCopy()).toThrow(/being cancelled/);
  const { outcome } = await moving.ends();
  expect(outcome.phase).toBe(MigrationPhase.MIGRATION_PHASE_CANCELLED);
  expect(moving.source.running).toBe(true);
});

describe('a post-copy that lost its link', () => {
  const BY_HAND = { recovery: PostcopyRecovery.POSTCOPY_RECOVERY_MANUAL, recoveryLimitMs: 0 };

  /** Both sides have lost the link, in the middle of the push; nobody can connect until the relay is up again. */
  async function paused(changes: Partial<MigrationOptions>): Promise<{ moving: EnginePair; relay: Relay }> {
    const moving = await make('post-copy', changes);
    const relay = await moving.relay(await moving.listen());
    relay.cutAfter(1_000_000, Number.POSITIVE_INFINITY);
    await moving.connect(relay.port);
    await until(() => moving.progress?.phase === MIGRATION_PHASE_POSTCOPY_PAUSED);
    await until(() => moving.incoming.arrival()?.paused === true);
    return { moving, relay };
  }

  test('waits for somebody who says so, whose vain try changes nothing', async () => {
    const { moving, relay } = await paused({ ...BY_HAND, channels: 4 });
    await until(() => moving.incoming.arrival()!.waitingVcpus === 2);
    const vain = (await moving.incoming.recover().catch((error: unknown) => error)) as RpcError;
    expect(vain.code).toBe('UNAVAILABLE');
    expect(vain.message).toContain('it stays in postcopy-paused, and nothing is lost');
    expect(moving.incoming.arrival()).toMatchObject({ paused: true, waitingVcpus: 2 });
    relay.restore();
    await moving.incoming.recover();
    const { outcome, result } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expect(result.report.postcopy).toMatchObject({ recoveries: 1, placedPages: PAGES });
    expect((await moving.destination.audit()).faults).toEqual([]);
  });

  test('can be destroyed while it waits, and the source then has nobody to serve', async () => {
    const { moving } = await paused(BY_HAND);
    await moving.destination.destroy();
    expect((await moving.incoming.finished()).reason).toMatch(
      /the guest was destroyed; \d+ pages had not come/,
    );
    expect(moving.isFreed).toBe(false);
    expect(moving.outgoing.guestGone('the guest was destroyed')).toBe(true);
    expect((await moving.outcome()).reason).toContain('the guest was destroyed');
    expect(moving.isFreed).toBe(true);
  });

  test('waits for nobody when all its pages are here: the ledger is told by memory', async () => {
    const moving = await make('post-copy', { ...BY_HAND, failpoints: holdAt('before-complete') });
    const relay = await moving.relay(await moving.listen());
    await moving.connect(relay.port);
    await until(() => moving.incoming.failpoint === 'before-complete');
    relay.cut(Number.POSITIVE_INFINITY);
    await until(() => moving.progress?.phase === MIGRATION_PHASE_POSTCOPY_PAUSED);
    moving.incoming.releaseFailpoint();
    const { phase, reason } = await moving.incoming.finished();
    expect(phase).toBe(MIGRATION_PHASE_COMPLETED);
    expect(reason).toContain('no ledger came');
    expect(moving.destination.ledgerKnown).toBe(true);
    expect((await moving.destination.audit()).faults).toEqual([]);
  });

  test('leaves no connection behind after a try in vain, which could be welcomed when nobody waits', async () => {
    const { moving, relay } = await paused({ ...BY_HAND, channels: 4 });
    const first = Promise.withResolvers<void>();
    relay.onDial((socket, count) => {
      // One is taken and hears nothing; what is refused is another one.
      if (count === 1) socket.once('close', () => first.resolve());
      else socket.destroy();
    });
    await expect(moving.incoming.recover()).rejects.toThrow(/it stays in postcopy-paused/);
    await first.promise;
  });

  test('tries at once when somebody says so, though it would by itself', async () => {
    const { moving, relay } = await paused({ recoveryLimitMs: HOUR_MS });
    relay.restore();
    // It may have its link again by itself by now.
    await moving.incoming
      .recover()
      .catch((error: RpcError) => expect(error.code).toBe('FAILED_PRECONDITION'));
    const { outcome } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
  });

  test('is not recovered when its link is not lost, or before it runs there', async () => {
    const moving = await make('post-copy', {
      push: PostcopyPush.POSTCOPY_PUSH_NONE,
      totalTimeLimitMs: HOUR_MS,
      failpoints: holdAt('before-resume'),
    });
    await moving.begin();
    await until(() => moving.incoming.failpoint === 'before-resume');
    await expect(moving.incoming.recover()).rejects.toThrow(/is not in postcopy-paused: it has its link/);
    moving.incoming.releaseFailpoint();
    await until(() => moving.incoming.arrival() !== undefined);
    await expect(moving.incoming.recover()).rejects.toThrow(/is not in postcopy-paused: it has its link/);
    await moving.destination.destroy();
  });
});
