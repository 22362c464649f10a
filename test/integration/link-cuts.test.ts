/**
 * Goal: whatever becomes of the link at whatever point of a post-copy or a hybrid, nothing hangs and nothing is lost
 * in silence. Before the commit point the guest runs on at the source. After it a link that comes back brings every
 * page that is missing, and one that does not costs just these, which is said; a guest that has them all runs on.
 * Method: both ends of real migrations in one process; each is held at its point, its connections are cut, and
 * nobody can connect for a while.
 */

import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { hasLatePages } from '../../proto/migration-options.ts';
import {
  DESTINATION_FAILPOINTS,
  type FailpointName,
  POSTCOPY_FAILPOINTS,
  SWITCH_FAILPOINTS,
  TECHNIQUES,
} from '../../proto/names.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { EnginePair, guestSpec, holdAt, optionsOf, TICKET, until } from './engine-pair.ts';
import { WirePeer } from './wire-peer.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_FAILED } = MigrationPhase;
const FOR_EVER_MS = 1e9;
const CUTS_MS = { '0.1 s': 100, '2 s': 2000, ever: FOR_EVER_MS } as const;
/** The destination says READY at the last of them. */
const BEFORE_COMMIT: readonly FailpointName[] = [
  'setup',
  'round-1',
  'round-2',
  'final-pages',
  'before-commit',
];
/** The link has been lost before. */
const AFTER_LOSS: readonly FailpointName[] = ['postcopy-paused', 'postcopy-recover'];

const cases = TECHNIQUES.filter((technique) => hasLatePages({ technique })).flatMap((technique) =>
  [...SWITCH_FAILPOINTS, ...POSTCOPY_FAILPOINTS].flatMap((point) =>
    // Post-copy has one round, of no page.
    technique === 'post-copy' && point.startsWith('round-') ? [] : [[technique, point] as const],
  ),
);

const pairs: EnginePair[] = [];

afterEach(async () => {
  await Promise.all(pairs.splice(0).map((pair) => pair.end()));
});

interface HeldPair {
  readonly pair: EnginePair;
  readonly cut: (forMs: number) => void;
  readonly release: () => void;
}

/** A migration that stands at a point, behind a link that can be cut. */
async function held(technique: string, point: FailpointName, recoveryLimitMs: number): Promise<HeldPair> {
  const isLater = AFTER_LOSS.includes(point);
  const failpoints = [...holdAt(point), ...(isLater ? holdAt('postcopy-active') : [])];
  // Half of the pages are touched by nobody, and half of a hybrid's first round is never sent.
  const { workload, ...rest } = guestSpec('hot-cold', 2000, 2, 2);
  const spec = { ...rest, workload: { ...workload!, hot: 1 } };
  const switching =
    point === 'round-2' ? { switchAfterRounds: 2 } : { switchAfterRounds: 0, switchAfterShare: 0.5 };
  const options = optionsOf(technique, { ...switching, downtimeLimitMs: 0, failpoints, recoveryLimitMs });
  const pair = await EnginePair.create(spec, options);
  pairs.push(pair);
  pair.verdict = BEFORE_COMMIT.includes(point) ? 'source' : 'destination';
  const relay = await pair.relay(await pair.listen());
  await pair.connect(relay.port);
  const stands = (where: FailpointName): Promise<void> =>
    until(() => [pair.progress?.failpoint, pair.incoming.failpoint].includes(where));
  if (isLater) {
    await stands('postcopy-active');
    relay.cut(0);
    pair.outgoing.releaseFailpoint();
  }
  await stands(point);
  const side = DESTINATION_FAILPOINTS.includes(point) ? pair.incoming : pair.outgoing;
  return { pair, cut: relay.cut, release: () => side.releaseFailpoint() };
}

async function expectRunsWhole(guest: EnginePair['source']): Promise<void> {
  const { operations } = guest.series.counts();
  await until(() => guest.series.counts().operations > operations);
  expect((await guest.audit()).faults).toEqual([]);
}

async function expectStayed({ pair }: HeldPair): Promise<void> {
  const { outcome, result } = await pair.ends();
  expect([outcome.phase, result.phase]).toEqual([MIGRATION_PHASE_FAILED, MIGRATION_PHASE_FAILED]);
  expect(outcome.reason).toContain('the data connection');
  expect(pair.destination.series.counts().operations).toBe(0);
  await expectRunsWhole(pair.source);
}

/** Every page came, over as many links as it took. */
async function expectMoved({ pair }: HeldPair): Promise<void> {
  const { outcome, result } = await pair.ends();
  expect(outcome.phase, outcome.reason).toBe(MIGRATION_PHASE_COMPLETED);
  expect(result.phase, result.reason).toBe(MIGRATION_PHASE_COMPLETED);
  expect(result.report.refused).toBe(0n);
  const { missingPages, pushedPages, demandedPages } = outcome.report!.postcopy!;
  expect(missingPages).toBeGreaterThan(0n);
  expect(result.report.postcopy!.placedPages).toBe(missingPages);
  // Nothing went twice but what was on its way when the link was lost.
  expect(pushedPages + demandedPages).toBeLessThanOrEqual(missingPages + outcome.report!.resentPages);
  expect(pair.isFreed).toBe(true);
  await expectRunsWhole(pair.destination);
}

/** The pages that had not come are lost, and it is said how many. */
async function expectLostPages({ pair }: HeldPair): Promise<void> {
  const { destination } = pair;
  const { phase, reason } = await pair.incoming.finished();
  expect(phase).toBe(MIGRATION_PHASE_FAILED);
  expect(reason).toMatch(/^[1-9]\d* pages were lost with host-1: .*connecting again/);
  expect(destination.failure?.message).toBe(reason);
  expect(destination.running).toBe(false);
  await expectWaits(pair);
}

/** The guest has all its pages, which its source never hears. */
async function expectMovedUnheard({ pair }: HeldPair): Promise<void> {
  const { phase, reason } = await pair.incoming.finished();
  expect(phase, reason).toBe(MIGRATION_PHASE_COMPLETED);
  await expectRunsWhole(pair.destination);
  await expectWaits(pair);
}

/** The source keeps its pages, and does not run the guest, until it is told that nobody wants them. */
async function expectWaits(pair: EnginePair): Promise<void> {
  const { source, outgoing, port } = pair;
  expect([source.running, pair.isFreed]).toEqual([false, false]);
  expect(outgoing.cancel('too late')).toBe(false);
  const pageCount = Number(source.spec.memoryBytes) / PAGE_BYTES;
  const hello = async (channel: number): Promise<WirePeer> => {
    const peer = new WirePeer(connect(await port.promise, '127.0.0.1'), 'source', pageCount, TICKET);
    peer.sayHello({ channel });
    await peer.hear('WELCOME');
    return peer;
  };
  const [main] = await Promise.all([hello(0), hello(1)]);
  main.say('FAILURE', { reason: 'too late' });
  const { phase, reason } = await pair.outcome();
  expect(phase).toBe(MIGRATION_PHASE_FAILED);
  expect(reason).toContain('did not get all its pages: the destination gave up: too late');
  expect(pair.isFreed).toBe(true);
}

describe.each(Object.keys(CUTS_MS) as (keyof typeof CUTS_MS)[])('a link that is cut for %s', (duration) => {
  const forMs = CUTS_MS[duration];
  const isForEver = forMs === FOR_EVER_MS;

  test.each(cases)('%s at %s', async (technique, point) => {
    // A machine may be slow to connect again, but not when nobody can: behind COMPLETE the source is gone.
    const isInVain = isForEver || point === 'after-complete';
    const moving = await held(technique, point, isInVain ? 300 : 240_000);
    moving.cut(forMs);
    // The loss itself ends a hold before the commit point.
    if (BEFORE_COMMIT.includes(point)) {
      await expectStayed(moving);
      return;
    }
    moving.release();
    if (isForEver && point === 'before-complete') await expectMovedUnheard(moving);
    else if (isForEver && point !== 'after-complete') await expectLostPages(moving);
    else await expectMoved(moving);
  });
});
