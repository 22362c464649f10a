/**
 * Goal: a guest that is moved is whole, runs on, and runs once, whatever the technique, and whatever goes
 * wrong. Method: both ends of real migrations in one process, over real sockets, with hooks that play the
 * host and the witness.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { HANDOVER } from '../../hosts/guest/control-layout.ts';
import type { Guest } from '../../hosts/guest/guest.ts';
import { OutgoingMigration } from '../../hosts/migration/outgoing.ts';
import { HandoverStanding, type SourceOutcome } from '../../proto/generated/godwit/v1/host.ts';
import { MigrationPhase, OnTimeout } from '../../proto/generated/godwit/v1/migration.ts';
import { type FailpointName, SWITCH_FAILPOINTS } from '../../proto/names.ts';
import {
  type Ends,
  EnginePair,
  guestSpec,
  holdAt,
  optionsOf,
  THREADS,
  TICKET,
  until,
} from './engine-pair.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_FAILED, MIGRATION_PHASE_CANCELLED } = MigrationPhase;

let pair: EnginePair | undefined;

afterEach(async () => {
  await pair?.end();
  pair = undefined;
});

async function make(...args: Parameters<typeof EnginePair.create>): Promise<EnginePair> {
  pair = await EnginePair.create(...args);
  return pair;
}

async function expectClean(guest: Guest, evidence = 'ledger'): Promise<void> {
  const { faults, evidence: found, pagesChecked } = await guest.audit();
  expect(faults).toEqual([]);
  expect(found).toBe(evidence);
  expect(pagesChecked).toBe(guest.spec.memoryBytes / 4096n);
}

/** Its operations rise from now on. */
async function expectRunning(guest: Guest): Promise<void> {
  const { operations } = guest.series.counts();
  await until(() => guest.series.counts().operations > operations);
}

/** The guest is here, whole and running, and nothing of it is left to run there. */
async function expectKept({ source, destination }: EnginePair): Promise<void> {
  await expectRunning(source);
  await expectClean(source);
  expect(destination.running).toBe(false);
  expect(destination.series.counts().operations).toBe(0);
}

async function expectMoved({ source, destination, isFreed }: EnginePair, evidence?: string): Promise<void> {
  expect(isFreed).toBe(true);
  expect(source.running).toBe(false);
  await expectRunning(destination);
  await expectClean(destination, evidence);
}

/** Every count and time of a completed migration's reports fits the others. */
function expectConsistent({ outcome, result }: Ends, pageCount: number): void {
  const source = outcome.report!;
  const { report: destination } = result;
  const times = [
    source.acceptedAtMs,
    source.setupDoneAtMs,
    source.pauseRequestedAtMs,
    source.parkedAtMs,
    source.finalPagesSentAtMs,
    source.deviceStateSentAtMs,
    source.readyAtMs,
    source.commitSentAtMs,
    destination.resumedAtMs,
  ];
  expect(times).toEqual(times.toSorted((left, right) => left - right));
  expect(destination.installedAtMs).toBeLessThanOrEqual(source.readyAtMs);
  expect(destination.commitReceivedAtMs).toBeLessThanOrEqual(destination.resumedAtMs);
  expect(source.freedAtMs).toBeGreaterThan(destination.resumedAtMs);
  expect(source.precopyBytes + source.downtimeBytes).toBe(source.transferredBytes);
  expect(destination.receivedBytes).toBe(source.transferredBytes);
  const sum = (field: 'pages' | 'zeroPages' | 'resentPages' | 'sentBytes'): bigint =>
    source.rounds.reduce((total, round) => total + round[field], 0n);
  expect(sum('pages')).toBe(source.normalPages + source.zeroPages);
  expect(sum('pages')).toBe(BigInt(pageCount) + source.resentPages);
  expect(sum('zeroPages')).toBe(source.zeroPages);
  expect(sum('resentPages')).toBe(source.resentPages);
  expect(sum('sentBytes')).toBeLessThan(source.transferredBytes);
  expect(sum('sentBytes')).toBeGreaterThan(source.normalPages * 4096n);
  expect(source.rounds.map(({ round }) => round)).toEqual(source.rounds.map((_, index) => index + 1));
  expect(source.rounds.map(({ final }) => final)).toEqual(
    source.rounds.map((_, i, all) => i === all.length - 1),
  );
  expect(source.rounds.at(-1)?.dirtyPagesAfter).toBe(0n);
  expect(source.deviceStateBytes).toBeGreaterThan(5000n);
}

describe('a guest moves whole and runs on', () => {
  test.each([
    ['pre-copy', 'uniform', 4, 4],
    ['pre-copy', 'hot-cold', 1, 4],
    ['pre-copy', 'kv', 4, 1],
    ['stop-and-copy', 'uniform', 1, 1],
    ['stop-and-copy', 'hot-cold', 4, 1],
    ['stop-and-copy', 'kv', 1, 4],
    // As many as there may be, all at once.
    ['pre-copy', 'uniform', 1, 16],
  ])('%s, %s, %i vCPUs, %i channels', async (technique, workload, vcpus, channels) => {
    const moving = await make(guestSpec(workload, 4000, vcpus), optionsOf(technique, { channels }));
    await moving.begin();
    const ends = await moving.ends();
    expect(ends.outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expect(ends.result).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expectConsistent(ends, 1024);
    expect(ends.outcome.report!.convergence).toBe(technique === 'pre-copy' ? 'converged' : '');
    expect(moving.resumedAtMs).toBe(ends.result.report.resumedAtMs);
    await expectMoved(moving);
  });

  test('when it does nothing, with an empty final round and no page twice', async () => {
    const moving = await make(guestSpec('idle', 0, 4, 8), optionsOf('pre-copy', { channels: 3 }));
    await moving.begin();
    const ends = await moving.ends();
    expectConsistent(ends, 2048);
    expect(ends.outcome.report!.rounds.map(({ pages }) => pages)).toEqual([2048n, 0n]);
    expect(ends.outcome.report!.zeroPages).toBeGreaterThan(700n);
    await expectClean(moving.destination);
  });

  test('between hosts that do not share a clock, whose offset is then measured', async () => {
    const moving = await make(guestSpec('uniform', 1000), optionsOf('pre-copy'));
    await moving.connect(await moving.listen(), 'another machine');
    const { result } = await moving.ends();
    // It is the same clock after all.
    expect(result.report.clockErrorMs).toBeGreaterThan(0);
    expect(Math.abs(result.report.clockOffsetMs)).toBeLessThanOrEqual(result.report.clockErrorMs);
    await expectMoved(moving);
  });
});

describe('a guest that does not converge', () => {
  /** Everything is dirty again after each round. */
  const tooFast = guestSpec('uniform', 40_000);
  const never = { downtimeLimitMs: 0, maxBandwidthBytesPerS: 20_000_000 };

  test('is stopped and copied after the last round that is allowed', async () => {
    const moving = await make(tooFast, optionsOf('pre-copy', { ...never, maxRounds: 3, channels: 2 }));
    await moving.begin();
    const ends = await moving.ends();
    expectConsistent(ends, 1024);
    expect(ends.outcome.report).toMatchObject({ convergence: 'max-rounds' });
    expect(ends.outcome.report!.rounds).toHaveLength(4);
    expect(ends.outcome.report!.rounds[1]).toMatchObject({ round: 2, final: false });
    expect(ends.outcome.report!.rounds[1]?.pages).toBeGreaterThan(0n);
    expect(ends.outcome.report!.rounds[1]?.resentPages).toBe(ends.outcome.report!.rounds[1]?.pages);
    await expectMoved(moving);
  });

  test('stays when the options say to give up, and says why', async () => {
    const options = { ...never, maxRounds: 2, onTimeout: OnTimeout.ON_TIMEOUT_ABORT };
    const moving = await make(tooFast, optionsOf('pre-copy', options));
    await moving.begin();
    const { outcome, result } = await moving.ends();
    expect(outcome.phase).toBe(MIGRATION_PHASE_FAILED);
    expect(outcome.reason).toContain('does not converge (max-rounds): in round 2');
    expect(result.phase).toBe(MIGRATION_PHASE_FAILED);
    expect(result.reason).toContain('does not converge');
    expect(moving.abandoned).toHaveLength(1);
    await expectKept(moving);
  });

  test('is stopped and copied in the middle of a round when its time is up', async () => {
    // At this rate the first round alone would take 10 s.
    const slow = { downtimeLimitMs: 0, maxBandwidthBytesPerS: 250_000, totalTimeLimitMs: 500 };
    // Most pages are never written again: what was not sent is not sent by chance.
    const moving = await make(guestSpec('hot-cold', 2000), optionsOf('pre-copy', slow));
    await moving.begin();
    const ends = await moving.ends();
    expect(ends.outcome.report).toMatchObject({ convergence: 'total-time-limit' });
    expect(ends.outcome.report!.rounds[0]?.pages).toBeLessThan(1024n);
    expectConsistent(ends, 1024);
    await expectMoved(moving);
  });
});

describe('a migration can be ended', () => {
  test('in the middle of a round: the guest runs on, untouched', async () => {
    const moving = await make(
      guestSpec('hot-cold', 4000),
      optionsOf('pre-copy', { failpoints: holdAt('round-1') }),
    );
    await moving.begin();
    await until(() => moving.progress?.failpoint === 'round-1');
    expect(moving.outgoing.standing()).toBe(HandoverStanding.HANDOVER_STANDING_MOVING);
    expect(moving.outgoing.cancel('no longer wanted')).toBe(true);
    const { outcome, result } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_CANCELLED, reason: 'no longer wanted' });
    expect(result).toMatchObject({ phase: MIGRATION_PHASE_FAILED });
    expect(moving.outgoing.standing()).toBe(HandoverStanding.HANDOVER_STANDING_KEPT);
    await expectKept(moving);
  });

  test('in the pause: the guest runs again', async () => {
    const failpoints = holdAt('before-commit');
    const moving = await make(guestSpec('uniform', 4000, 4), optionsOf('stop-and-copy', { failpoints }));
    await moving.begin();
    await until(() => moving.progress?.failpoint === 'before-commit');
    expect(moving.source.running).toBe(false);
    expect(moving.incoming.standing()).toBe(HandoverStanding.HANDOVER_STANDING_READY);
    expect(moving.outgoing.cancel('no longer wanted')).toBe(true);
    expect((await moving.ends()).outcome.phase).toBe(MIGRATION_PHASE_CANCELLED);
    expect(moving.asked).toEqual(['destination']);
    await expectKept(moving);
  });

  test('after the commit point by nobody', async () => {
    const moving = await make(
      guestSpec('uniform', 4000),
      optionsOf('pre-copy', { failpoints: holdAt('after-commit') }),
    );
    moving.verdict = 'destination';
    await moving.begin();
    await until(() => moving.progress?.failpoint === 'after-commit');
    expect(moving.outgoing.cancel('too late')).toBe(false);
    expect(moving.outgoing.standing()).toBe(HandoverStanding.HANDOVER_STANDING_COMMITTED);
    await until(() => moving.resumedAtMs > 0);
    moving.incoming.cancel('too late');
    moving.outgoing.releaseFailpoint();
    expect((await moving.ends()).outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    // COMMITTED was said to the witness: from then on only its word frees the guest.
    expect(moving.asked).toEqual(['source']);
    await expectMoved(moving);
  });

  test('when the witness does not take the handover down, and the guest was never paused', async () => {
    const moving = await make(guestSpec('uniform', 4000), optionsOf('pre-copy'));
    moving.beginHandover = () => Promise.reject(new Error('epoch 3 is over'));
    await moving.begin();
    const { outcome } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_FAILED });
    expect(outcome.reason).toContain('epoch 3 is over');
    expect(outcome.report).toMatchObject({ pauseRequestedAtMs: 0, parkedAtMs: 0 });
    await expectKept(moving);
  });
});

describe('a mover that cannot do its work', () => {
  /** The source's side alone, of a guest and with settings that are not what they should be. */
  async function failing(changes: { guest?: Guest; listenAddress?: string }): Promise<SourceOutcome> {
    const { source: guest, options, outgoing: unused } = pair as EnginePair;
    unused.cancel('another takes its place');
    const settings = {
      migration: 'another',
      threads: THREADS,
      guest,
      options,
      ticket: TICKET,
      listenAddress: '127.0.0.1',
    };
    const refuse = () => Promise.reject(new Error('it never came so far'));
    return await new OutgoingMigration(
      { ...settings, ...changes },
      {
        listening: () => {},
        progress: () => {},
        beginHandover: refuse,
        serving: () => {},
        commitUnanswered: refuse,
        free: refuse,
      },
    ).run();
  }

  test('since its address is not one of this host leaves the guest running, and says so', async () => {
    const moving = await make(guestSpec('uniform', 4000), optionsOf('pre-copy'));
    const { phase, reason } = await failing({ listenAddress: '192.0.2.1' });
    expect(phase).toBe(MIGRATION_PHASE_FAILED);
    expect(reason).toContain('opening the data port on 192.0.2.1');
    await expectKept(moving);
  });

  test('since its thread dies leaves the guest running', async () => {
    const moving = await make(guestSpec('uniform', 4000), optionsOf('pre-copy'));
    // A mover that is not told what guest it has throws before it can catch anything.
    const shared = { ...moving.source.shared, spec: undefined };
    const guest = Object.create(moving.source, { shared: { value: shared } }) as Guest;
    const { phase, reason } = await failing({ guest });
    expect(phase).toBe(MIGRATION_PHASE_FAILED);
    expect(reason).toContain('source mover has ended');
    expect(moving.source.control.handover()).toBe(HANDOVER.KEPT);
    await expectKept(moving);
  });
});

test('a migration held at every failpoint meets them in order and goes on after each', async () => {
  // The second round is forced: every page is dirty again, and one round is not enough.
  const slow = { downtimeLimitMs: 0, maxBandwidthBytesPerS: 20_000_000, maxRounds: 2 };
  const failpoints = SWITCH_FAILPOINTS.flatMap(holdAt);
  const moving = await make(guestSpec('uniform', 20_000), optionsOf('pre-copy', { ...slow, failpoints }));
  await moving.begin();
  const firstPaused = SWITCH_FAILPOINTS.indexOf('final-pages');
  for (const [index, point] of SWITCH_FAILPOINTS.entries()) {
    const atDestination = point === 'before-resume';
    // After COMMIT the two sides go on by themselves.
    if (atDestination) expect(moving.incoming.failpoint).toBe(point);
    else await until(() => moving.progress?.failpoint === point);
    expect(moving.source.running).toBe(index < firstPaused);
    expect(moving.destination.running).toBe(false);
    if (point === 'after-commit') await until(() => moving.incoming.failpoint === 'before-resume');
    if (atDestination) moving.incoming.releaseFailpoint();
    else moving.outgoing.releaseFailpoint();
  }
  expect((await moving.ends()).outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED });
  await expectMoved(moving);
});

describe('when the connection is cut', () => {
  async function cutAt(point: FailpointName, verdict: 'source' | 'destination'): Promise<EnginePair> {
    const moving = await make(
      guestSpec('uniform', 4000, 2),
      optionsOf('pre-copy', { failpoints: holdAt(point) }),
    );
    moving.verdict = verdict;
    const { port, cut } = await moving.relay(await moving.listen());
    await moving.connect(port);
    await until(() => moving.progress?.failpoint === point || moving.incoming.failpoint === point);
    cut();
    return moving;
  }

  test('while pages move, both know at once: the guest stays', async () => {
    const moving = await cutAt('round-1', 'destination');
    const { outcome, result } = await moving.ends();
    expect([outcome.phase, result.phase]).toEqual([MIGRATION_PHASE_FAILED, MIGRATION_PHASE_FAILED]);
    expect(moving.asked).toEqual([]);
    await expectKept(moving);
  });

  test('before COMMIT, the source keeps the guest and the destination asks the witness', async () => {
    const moving = await cutAt('before-commit', 'source');
    const { outcome, result } = await moving.ends();
    expect([outcome.phase, result.phase]).toEqual([MIGRATION_PHASE_FAILED, MIGRATION_PHASE_FAILED]);
    expect(moving.asked).toEqual(['destination']);
    await expectKept(moving);
  });

  test('after COMMIT, the source asks the witness: the guest runs there, proven by the digest', async () => {
    const moving = await cutAt('before-resume', 'destination');
    expect(moving.outgoing.cancel('too late')).toBe(false);
    moving.incoming.decide('destination');
    const { outcome, result } = await moving.ends();
    expect([outcome.phase, result.phase]).toEqual([MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_COMPLETED]);
    expect(moving.asked).toContain('source');
    await expectMoved(moving, 'digest');
  });

  test('after COMMIT, the guest runs at the source again if the witness says so', async () => {
    const moving = await cutAt('before-resume', 'source');
    await moving.outcome();
    moving.incoming.decide('source');
    const { outcome, result } = await moving.ends();
    expect([outcome.phase, result.phase]).toEqual([MIGRATION_PHASE_FAILED, MIGRATION_PHASE_FAILED]);
    expect(moving.incoming.standing()).toBe(HandoverStanding.HANDOVER_STANDING_ABANDONED);
    expect(moving.isFreed).toBe(false);
    await expectKept(moving);
  });
});

test('a destination whose lease has ended does not resume for COMMIT, but for the witness', async () => {
  const moving = await make(guestSpec('uniform', 4000), optionsOf('pre-copy'));
  moving.destination.control.leaseUntilMs = 1;
  moving.verdict = 'destination';
  await moving.begin();
  expect((await moving.ends()).outcome.phase).toBe(MIGRATION_PHASE_COMPLETED);
  expect(moving.asked).toEqual(['destination']);
  expect(moving.ranWhenAsked).toEqual([false]);
  await expectMoved(moving);
});
