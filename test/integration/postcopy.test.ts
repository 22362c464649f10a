/**
 * Goal: a guest that runs before its memory has arrived is whole in the end, each page having crossed the wire
 * once, whatever it does and whatever is done to it meanwhile. Method: both ends of real migrations in one
 * process, over real sockets, with hooks that play the host and the witness.
 */

import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { VCPU_STATE } from '../../hosts/guest/control-layout.ts';
import type { Guest } from '../../hosts/guest/guest.ts';
import {
  type MigrationOptions,
  MigrationPhase,
  PostcopyPush,
} from '../../proto/generated/godwit/v1/migration.ts';
import { type Ends, EnginePair, guestSpec, holdAt, optionsOf, TICKET, until } from './engine-pair.ts';
import { WirePeer } from './wire-peer.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_FAILED } = MigrationPhase;
const { POSTCOPY_PUSH_NONE, POSTCOPY_PUSH_BUBBLING } = PostcopyPush;
const PAGES = 1024;

let pair: EnginePair | undefined;

afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

async function make(...args: Parameters<typeof EnginePair.create>): Promise<EnginePair> {
  pair = await EnginePair.create(...args);
  return pair;
}

async function expectMoved({ source, destination, isFreed }: EnginePair, evidence = 'ledger'): Promise<void> {
  expect(isFreed).toBe(true);
  expect(source.running).toBe(false);
  const { operations } = destination.series.counts();
  await until(() => destination.series.counts().operations > operations);
  const audit = await destination.audit();
  expect(audit.faults).toEqual([]);
  expect(audit.evidence).toBe(evidence);
}

/** Each missing page came once, and every count of one side fits the other's. */
function expectOnce({ outcome, result }: Ends, missingPages: number): void {
  const source = outcome.report!.postcopy!;
  const destination = result.report.postcopy!;
  expect(source.missingPages).toBe(BigInt(missingPages));
  expect(source.pushedPages + source.demandedPages).toBe(source.missingPages);
  expect(destination.placedPages).toBe(source.missingPages);
  expect(destination.requests).toBe(source.demandedPages + source.prefetchHits);
  expect(destination.faults).toBeGreaterThanOrEqual(destination.requests);
  expect(destination.completeAtMs).toBeGreaterThanOrEqual(result.report.resumedAtMs);
  expect(outcome.report!.freedAtMs).toBeGreaterThan(destination.completeAtMs);
  expect(source.sentBytes).toBeLessThanOrEqual(outcome.report!.transferredBytes);
  expect(destination.recoveries).toBe(0);
  // On whatever connection a record came, it was opened once, and counts.
  const sealed = outcome.report!.transforms.find(({ name }) => name === 'encryption')!;
  const opened = result.report.transforms.find(({ name }) => name === 'encryption')!;
  expect(opened).toMatchObject({ bytesIn: sealed.bytesOut, bytesOut: sealed.bytesIn });
}

describe('a guest that runs before its pages have come gets each of them once', () => {
  test.each([
    ['uniform', 4, 4, {}],
    ['hot-cold', 1, 4, { push: POSTCOPY_PUSH_BUBBLING }],
    ['kv', 4, 1, { postcopyPreempt: false }],
    ['uniform', 1, 1, { push: POSTCOPY_PUSH_NONE, totalTimeLimitMs: 1500 }],
    ['sequential', 1, 1, { postcopyPreempt: false, push: POSTCOPY_PUSH_BUBBLING, accessedFirst: true }],
    ['hot-cold', 4, 16, { maxPostcopyBandwidthBytesPerS: 5_000_000 }],
    ['idle', 4, 1, {}],
  ] satisfies [string, number, number, Partial<MigrationOptions>][])(
    'post-copy, %s, %i vCPUs, %i channels, %o',
    async (workload, vcpus, channels, changes) => {
      const rate = workload === 'idle' ? 0 : 4000;
      const moving = await make(
        guestSpec(workload, rate, vcpus),
        optionsOf('post-copy', { channels, ...changes }),
      );
      await moving.begin();
      const ends = await moving.ends();
      expect(ends.outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
      expect(ends.result).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
      expectOnce(ends, PAGES);
      const { normalPages, zeroPages, resentPages, rounds } = ends.outcome.report!;
      expect(resentPages).toBe(0n);
      expect(normalPages + zeroPages).toBe(BigInt(PAGES));
      expect(rounds.map(({ pages }) => pages)).toEqual([0n]);
      if (workload === 'idle') expect((await moving.destination.audit()).faults).toEqual([]);
      else await expectMoved(moving);
    },
  );

  test.each([
    ['uniform', 4, 4, {}],
    ['hot-cold', 1, 1, { hotSet: 0.1, postcopyPreempt: false }],
    ['kv', 4, 1, { switchAfterRounds: 2, push: POSTCOPY_PUSH_BUBBLING }],
    // Half of the first round: the other half was never sent.
    ['uniform', 1, 4, { switchAfterRounds: 0, switchAfterShare: 0.5, maxBandwidthBytesPerS: 20_000_000 }],
  ] satisfies [string, number, number, Partial<MigrationOptions>][])(
    'hybrid, %s, %i vCPUs, %i channels, %o: what it validly has is not fetched again',
    async (workload, vcpus, channels, changes) => {
      const options = optionsOf('hybrid', { channels, downtimeLimitMs: 0, ...changes });
      const moving = await make(guestSpec(workload, 20_000, vcpus), options);
      await moving.begin();
      const ends = await moving.ends();
      expect(ends.outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
      const { rounds, normalPages, zeroPages, postcopy } = ends.outcome.report!;
      expectOnce(ends, Number(postcopy!.missingPages));
      const roundPages = rounds.reduce((sum, { pages }) => sum + pages, 0n);
      expect(normalPages + zeroPages).toBe(roundPages + postcopy!.missingPages);
      expect(postcopy!.missingPages).toBeGreaterThan(0n);
      expect(ends.outcome.report!.convergence).toBe(
        'switchAfterShare' in changes ? 'switch-after-share' : 'switch-after-rounds',
      );
      await expectMoved(moving);
    },
  );

  test('hybrid, when nothing was written meanwhile', async () => {
    const moving = await make(guestSpec('idle', 0), optionsOf('hybrid'));
    await moving.begin();
    const ends = await moving.ends();
    expectOnce(ends, 0);
    expect((await moving.destination.audit()).faults).toEqual([]);
  });
});

describe('while pages are missing', () => {
  /** Nothing is pushed, so that what nobody touches stays missing. */
  const demandOnly = optionsOf('post-copy', { push: POSTCOPY_PUSH_NONE });
  const allAsleep = ({ control, spec }: Guest): boolean =>
    Array.from({ length: spec.vcpuCount }, (_, vcpu) => vcpu).every(
      (vcpu) => control.vcpuState(vcpu) === VCPU_STATE.FAULTED,
    );

  test('the guest can be destroyed, and the source frees its pages', async () => {
    const moving = await make(guestSpec('hot-cold', 1000, 2), demandOnly);
    await moving.begin();
    await until(() => moving.isServing);
    expect(moving.isFreed).toBe(false);
    await moving.destination.destroy();
    const { outcome, result } = await moving.ends();
    expect(moving.isFreed).toBe(true);
    expect(outcome.reason).toContain('the guest was destroyed');
    expect(result.reason).toContain('the guest was destroyed');
  });

  test('it can be paused and resumed', async () => {
    const options = optionsOf('post-copy', { maxPostcopyBandwidthBytesPerS: 20_000_000 });
    const moving = await make(guestSpec('uniform', 0, 4), options);
    await moving.begin();
    await until(() => moving.isServing);
    for (let round = 0; round < 10; round++) {
      await moving.destination.pause();
      const { operations } = moving.destination.series.counts();
      expect(moving.destination.series.counts().operations).toBe(operations);
      await moving.destination.resume();
    }
    expectOnce(await moving.ends(), PAGES);
    await expectMoved(moving);
  });

  test('and the link is down, eight vCPUs that all wait can be paused, and go on when it is back', async () => {
    const options = optionsOf('post-copy', { failpoints: holdAt('postcopy-paused') });
    const moving = await make(guestSpec('uniform', 20_000, 8), options);
    const relay = await moving.relay(await moving.listen());
    relay.cutAfter(300_000, 0);
    await moving.connect(relay.port);
    const { destination, outgoing } = moving;
    await until(() => moving.progress?.failpoint === 'postcopy-paused' && allAsleep(destination));
    await destination.pause();
    expect(outgoing.cancel('too late')).toBe(false);
    await expect(destination.audit()).rejects.toThrow(/\d+ pages of it have not come yet/);
    const { operations } = destination.series.counts();
    await destination.resume();
    expect(allAsleep(destination)).toBe(true);
    expect(destination.series.counts().operations).toBe(operations);
    outgoing.releaseFailpoint();
    const { outcome, result } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expect(result.report.postcopy).toMatchObject({ recoveries: 1, placedPages: BigInt(PAGES) });
    await expectMoved(moving);
  });

  test('it cannot be cancelled', async () => {
    const moving = await make(guestSpec('hot-cold', 1000), demandOnly);
    await moving.begin();
    await until(() => moving.isServing);
    expect(moving.outgoing.cancel('too late')).toBe(false);
    expect(allAsleep(moving.source)).toBe(false);
  });
});

describe('when the link is lost while pages are missing', () => {
  /** The link is cut when a part of the pages has come, wherever frames then are. */
  async function cutInPush(changes: Partial<MigrationOptions>, forMs: number): Promise<EnginePair> {
    const moving = await make(guestSpec('uniform', 4000, 4), optionsOf('post-copy', changes));
    const relay = await moving.relay(await moving.listen());
    relay.cutAfter(1_000_000, forMs);
    await moving.connect(relay.port);
    return moving;
  }

  test.each([
    ['at once', { channels: 4 }, 0],
    ['after a while', { postcopyPreempt: false }, 500],
    ['though nothing is pushed', { push: POSTCOPY_PUSH_NONE, totalTimeLimitMs: 4000 }, 100],
  ] satisfies [string, Partial<MigrationOptions>, number][])(
    'the destination connects again %s, and gets what it lacks',
    async (_, changes, forMs) => {
      const moving = await cutInPush(changes, forMs);
      const { outcome, result } = await moving.ends();
      expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
      expect(result).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
      const { recoveries, placedPages, pausedMs } = result.report.postcopy!;
      expect(recoveries).toBe(1);
      expect(pausedMs).toBeGreaterThanOrEqual(forMs);
      expect(placedPages).toBe(BigInt(PAGES));
      const { pushedPages, demandedPages } = outcome.report!.postcopy!;
      // What was on its way when the link was cut went again.
      expect(pushedPages + demandedPages).toBe(BigInt(PAGES) + outcome.report!.resentPages);
      expect(moving.asked).toEqual([]);
      await expectMoved(moving);
    },
  );

  test('and never comes back, the guest fails and says what was lost', async () => {
    const changes = { recoveryLimitMs: 300, postcopyPreempt: false };
    const moving = await cutInPush(changes, 1_000_000_000);
    const result = await moving.incoming.finished();
    expect(result.phase).toBe(MIGRATION_PHASE_FAILED);
    expect(result.reason).toMatch(/^\d+ pages were lost with host-1: .*connecting again/);
    expect(moving.destination.failure?.message).toBe(result.reason);
    expect(moving.destination.running).toBe(false);
    expect(() => moving.destination.control.waitParked()).not.toThrow();
    await expect(moving.destination.audit()).rejects.toThrow('pages were lost with host-1');
    // The source keeps its pages for a destination that may come back. This one does, only to give up.
    await until(() => moving.progress?.phase === MigrationPhase.MIGRATION_PHASE_POSTCOPY_PAUSED);
    const peer = new WirePeer(connect(await moving.port.promise, '127.0.0.1'), 'source', PAGES, TICKET);
    await peer.greet();
    peer.say('FAILURE', { reason: 'too late' });
    const outcome = await moving.outcome();
    expect(outcome.phase).toBe(MIGRATION_PHASE_FAILED);
    expect(outcome.reason).toContain('did not get all its pages: the destination gave up: too late');
    expect(moving.isFreed).toBe(true);
  });
});
