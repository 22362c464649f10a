/**
 * Goal: whoever is killed at whatever point of whatever technique, the guest runs exactly once afterwards with a
 * clean audit, or it is reported lost, or failed for want of its pages, where its memory truly was in the dead host
 * alone. Method: real processes; migrations of several guests are held, each at its point, the victim gets SIGKILL,
 * the holds are released, and the testbed is left to itself.
 */

import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GuestState, type WorkloadSpec } from '../../proto/generated/godwit/v1/guest.ts';
import type { MigrationOptions } from '../../proto/generated/godwit/v1/migration.ts';
import { LinkFaultKind } from '../../proto/generated/godwit/v1/network.ts';
import { hasLatePages } from '../../proto/migration-options.ts';
import {
  type FailpointName,
  POSTCOPY_FAILPOINTS,
  SWITCH_FAILPOINTS,
  TECHNIQUES,
  type Technique,
} from '../../proto/names.ts';
import { NO_FAULT, unshapedNetwork } from '../../proto/network-shape.ts';
import { callUnary } from '../../proto/rpc.ts';
import { DESTINATION, expectRunsOnlyOn, HOSTS, heldAt, release, SOURCE } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, type RunningMigration, Testbed } from '../support/testbed.ts';

/** Where a migration is held; the guest has its name. */
interface Case {
  readonly technique: Technique;
  readonly point: FailpointName;
}

interface HeldCase extends Case {
  readonly guest: string;
  readonly migration: RunningMigration;
  readonly name: string;
}

type Outcome = `${'runs at' | 'lost with' | 'failed without the pages of'} ${(typeof HOSTS)[number]}`;

/** One dirty page after a round of some tenths of a second is enough for a round 2. */
const SLOW = { maxBandwidthBytesPerS: 5_000_000, downtimeLimitMs: 0, maxRounds: 3 };
/** How long a dead host is waited for. */
const LEASE_MS = 5000;
const CALL_MS = 120_000;
/** Half of the guest is written all the time, the rest never: without a push it stays where it is. */
const WORKLOAD: WorkloadSpec = { ...guestSpec('').workload!, rate: 500, hot: 1 };
const GUEST = { memoryBytes: 2n * 1024n * 1024n, workload: WORKLOAD };

/** Where each technique can be met between two steps of its own. */
const POINTS: Readonly<Record<Technique, readonly FailpointName[]>> = {
  'stop-and-copy': ['setup', 'final-pages', 'before-commit', 'after-commit', 'before-resume'],
  'pre-copy': SWITCH_FAILPOINTS,
  'post-copy': ['setup', 'final-pages', 'before-commit', 'after-commit', 'before-resume'],
  hybrid: SWITCH_FAILPOINTS,
};
const LATE_TECHNIQUES = TECHNIQUES.filter((technique) => hasLatePages({ technique }));

/** So many at once as one host may take part in. */
const BATCHES: readonly (readonly [name: string, cases: readonly Case[]])[] = [
  ...TECHNIQUES.map((technique) => [technique, casesOf([technique], POINTS[technique])] as const),
  ['pages that follow', casesOf(LATE_TECHNIQUES, ['postcopy-active', 'before-complete', 'after-complete'])],
  ['a link that was lost', casesOf(LATE_TECHNIQUES, ['postcopy-paused', 'postcopy-recover'])],
];

/** So that its link can be lost: migrations of the source pass a NIC. */
const NIC = { host: SOURCE, shape: unshapedNetwork(), faults: true };
const RESET = { host: SOURCE, fault: { ...NO_FAULT, kind: LinkFaultKind.LINK_FAULT_KIND_RESET } };

/** Until READY the source alone has the guest whole. */
const SOURCE_ONLY: readonly FailpointName[] = ['setup', 'round-1', 'round-2', 'final-pages'];
const AFTER_COMMIT: readonly FailpointName[] = ['after-commit', 'before-resume', ...POSTCOPY_FAILPOINTS];

let testbed: Testbed;

beforeEach(async () => {
  testbed = await Testbed.start(HOSTS, LEASE_MS, { GODWIT_PATIENCE: '3' });
});

afterEach(async () => {
  await testbed.close();
});

afterAll(endAllProcesses);

function casesOf(techniques: readonly Technique[], points: readonly FailpointName[]): Case[] {
  return techniques.flatMap((technique) => points.map((point) => ({ technique, point })));
}

/** @param recoveryLimitMs how long a destination that lacks pages tries to connect again */
function optionsFor({ technique, point }: Case, recoveryLimitMs: number): Partial<MigrationOptions> {
  // Half of the first round is never sent, so that pages are missing which nobody asks for.
  const toSwitch =
    point === 'round-2' ? { switchAfterRounds: 2 } : { switchAfterRounds: 0, switchAfterShare: 0.5 };
  return { ...SLOW, technique, recoveryLimitMs, ...(technique === 'hybrid' && toSwitch) };
}

/** A guest for each case, each at its point; those whose link is to be lost have lost it. */
async function holdAll(cases: readonly Case[], recoveryLimitMs = 60_000): Promise<HeldCase[]> {
  const isLost = ({ point }: Case): boolean => point === 'postcopy-paused' || point === 'postcopy-recover';
  if (cases.some(isLost))
    await callUnary(testbed.client, 'setNetwork', NIC, { what: 'shaping the source', deadlineMs: CALL_MS });
  const held = await Promise.all(
    cases.map(async (each): Promise<HeldCase> => {
      const { technique, point } = each;
      const guest = `${technique}.${point}`;
      await testbed.createGuest(guestSpec(guest, GUEST), SOURCE);
      const before = isLost(each) ? 'postcopy-active' : point;
      const options = optionsFor(each, recoveryLimitMs);
      const migration = await heldAt(testbed, guest, before, options, before === point ? [] : [point]);
      return { ...each, guest, migration, name: await migration.name() };
    }),
  );
  const losers = held.filter(isLost);
  if (losers.length > 0) {
    await callUnary(testbed.client, 'setLinkFault', RESET, {
      what: 'resetting the link',
      deadlineMs: CALL_MS,
    });
    await Promise.all(losers.map(({ name }) => release(testbed, 'postcopy-active', name)));
    await Promise.all(losers.map(({ migration, point }) => migration.stands(point)));
  }
  return held;
}

async function releaseAll(held: readonly HeldCase[]): Promise<void> {
  await Promise.all(held.map(({ point, name }) => release(testbed, point, name)));
}

/** What is known of a guest now; undefined while it is not settled. */
async function outcomeNow({ guest, migration }: HeldCase): Promise<Outcome | undefined> {
  const entry = await testbed.guest(guest);
  const hostIn = (text: string) => HOSTS.find((host) => text.includes(host));
  if (entry.lost !== '') return `lost with ${hostIn(entry.lost.replace(/;.*/, ''))!}`;
  if (entry.migration !== '') return undefined;
  if (entry.state === GuestState.GUEST_STATE_RUNNING) return `runs at ${hostIn(entry.owner)!}`;
  if (entry.state !== GuestState.GUEST_STATE_FAILED) return undefined;
  const { reason } = await migration.ended;
  const [, host = ''] = /[1-9]\d* pages were lost with (host-\d)/.exec(reason) ?? [];
  return `failed without the pages of ${hostIn(host)!}`;
}

/**
 * Each guest comes to one of its ends and stays there: it is lost for good or runs once and is whole. A lease that a
 * slow machine missed is waited over.
 */
async function expectOutcomes(
  held: readonly HeldCase[],
  expected: (each: Case) => readonly Outcome[],
): Promise<void> {
  const copies = new Map<string, readonly (number | undefined)[]>();
  const outcomes = await Promise.all(
    held.map(async (each): Promise<Outcome> => {
      const { guest } = each;
      let found: Outcome | undefined;
      await waitFor(
        async () => {
          found = await outcomeNow(each);
          return found !== undefined && expected(each).includes(found);
        },
        () => `guest ${guest}: ${expected(each).join(' or ')}; found was: ${found ?? 'not settled'}`,
      );
      if (!found!.startsWith('runs at')) copies.set(guest, await operationsEverywhere(guest));
      return found!;
    }),
  );
  for (const [index, each] of held.entries()) {
    const { guest } = each;
    const [kind, owner = ''] = outcomes[index]!.split(/ (?=host)/);
    if (kind === 'runs at') {
      await expectRunsOnlyOn(testbed, guest, owner);
      continue;
    }
    expect(await operationsEverywhere(guest), `guest ${guest} does not run`).toEqual(copies.get(guest));
    expect(await outcomeNow(each), guest).toBe(outcomes[index]);
  }
}

async function operationsEverywhere(guest: string): Promise<(number | undefined)[]> {
  return await Promise.all(HOSTS.map((host) => testbed.operations(host, guest)));
}

/** What becomes of the guest when the source dies, by docs/ownership.md. */
function withoutSource({ technique, point }: Case): readonly Outcome[] {
  if (SOURCE_ONLY.includes(point)) return [`lost with ${SOURCE}`];
  const isWhole = !hasLatePages({ technique }) || point === 'before-complete' || point === 'after-complete';
  if (isWhole) return [`runs at ${DESTINATION}`];
  // Nobody has heard that it committed.
  if (point === 'before-commit') return [`lost with ${SOURCE}`];
  return [`failed without the pages of ${SOURCE}`];
}

/** And when the destination dies. */
function withoutDestination({ point }: Case): readonly Outcome[] {
  // COMMIT is on its way: the destination may have resumed and settled before it dies.
  if (point === 'after-commit') return [`runs at ${SOURCE}`, `lost with ${DESTINATION}`];
  const isTaken = (POSTCOPY_FAILPOINTS as readonly FailpointName[]).includes(point);
  return [isTaken ? `lost with ${DESTINATION}` : `runs at ${SOURCE}`];
}

/** And without a coordinator for a while. */
function withoutCoordinator({ point }: Case): readonly Outcome[] {
  if (AFTER_COMMIT.includes(point)) return [`runs at ${DESTINATION}`];
  return [`runs at ${SOURCE}`, `runs at ${DESTINATION}`];
}

describe.each(BATCHES)('killed at any point: %s', (_, cases) => {
  it('the source: what it alone had is lost and reported, all else runs at the destination', async () => {
    const held = await holdAll(cases, 1000);
    await testbed.killHost(SOURCE);
    await releaseAll(held);
    await expectOutcomes(held, withoutSource);
  });

  it('the destination: the guest runs on at the source, or is lost with its new host', async () => {
    const held = await holdAll(cases);
    await testbed.killHost(DESTINATION);
    await releaseAll(held);
    await expectOutcomes(held, withoutDestination);
  });

  it('the coordinator: the guest runs once, and the restarted coordinator knows where', async () => {
    const held = await holdAll(cases);
    await testbed.killCoordinator();
    await testbed.startCoordinator();
    await releaseAll(held);
    await expectOutcomes(held, withoutCoordinator);
  });

  it('the coordinator, back only after the migration has gone on: the guest runs once', async () => {
    const held = await holdAll(cases);
    await testbed.killCoordinator();
    await releaseAll(held);
    await testbed.startCoordinator();
    await expectOutcomes(held, withoutCoordinator);
  });
});

describe('a source that was stalled beyond its lease', () => {
  async function stall(): Promise<void> {
    testbed.signalHost(SOURCE, 'SIGSTOP');
    await testbed.hostIsDead(SOURCE);
  }

  it('takes the guest back when its destination died: "nobody has it" is no answer to who has it', async () => {
    const held = await holdAll(casesOf(TECHNIQUES, ['before-resume']));
    testbed.signalHost(SOURCE, 'SIGSTOP');
    await testbed.killHost(DESTINATION);
    await testbed.hostIsDead(SOURCE);
    await testbed.hostIsDead(DESTINATION);
    testbed.signalHost(SOURCE, 'SIGCONT');
    await releaseAll(held);
    await expectOutcomes(held, () => [`runs at ${SOURCE}`]);
  });

  it('discards the guest when its destination got it meanwhile, which gets only what is whole', async () => {
    const held = await holdAll(casesOf(TECHNIQUES, ['before-commit']));
    await stall();
    for (const { technique, guest } of held) {
      const isLate = hasLatePages({ technique });
      await waitFor(
        async () =>
          isLate
            ? (await testbed.guest(guest)).lost !== ''
            : (await testbed.operations(DESTINATION, guest))! > 0,
        `guest ${guest} to be reported lost, or to run at the destination`,
      );
    }
    testbed.signalHost(SOURCE, 'SIGCONT');
    await releaseAll(held);
    await expectOutcomes(held, ({ technique }) =>
      hasLatePages({ technique })
        ? [`runs at ${SOURCE}`, `runs at ${DESTINATION}`]
        : [`runs at ${DESTINATION}`],
    );
  });

  it("serves the rest of its pages when it comes back: the guest is its destination's, and not lost", async () => {
    const held = await holdAll(casesOf(LATE_TECHNIQUES, ['postcopy-active']));
    await stall();
    for (const { guest } of held)
      expect(await testbed.guest(guest)).toMatchObject({ owner: DESTINATION, lost: '' });
    testbed.signalHost(SOURCE, 'SIGCONT');
    await releaseAll(held);
    await expectOutcomes(held, () => [`runs at ${DESTINATION}`]);
  });
});
