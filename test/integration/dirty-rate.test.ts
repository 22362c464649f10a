/**
 * Goal: a probe of a dirty rate disturbs nobody, whatever happens while it runs: a migration has the guest's marks
 * first, and every guest is audited afterwards. Method: real processes; that a probe runs is known from the host's
 * refusal of a second one.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DIRTY_RATE_MODES, type DirtyRateModeName } from '../../proto/dirty-rate.ts';
import type { RpcError } from '../../proto/errors.ts';
import { DirtyRateMode, type DirtyRateReport } from '../../proto/generated/godwit/v1/dirty_rate.ts';
import { FailpointAction, MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { callUnary } from '../../proto/rpc.ts';
import { endAllProcesses, godwit, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, type RunningMigration, Testbed } from '../support/testbed.ts';

const GUEST = 'watched';
const LONG_MS = 60_000;
const HOUR_MS = 3_600_000;
const MARKING = ['dirty-bitmap', 'dirty-ring', 'working-set'] as const;

/** Of what --json prints. */
interface PlainReport {
  readonly mode: string;
  readonly dirty_pages: number;
  readonly truth: { readonly dirty_pages: number; readonly edge_writes: number };
  readonly working_set?: object;
}

let testbed: Testbed;

beforeAll(async () => {
  testbed = await Testbed.start(['host-1', 'host-2'], LONG_LEASE_MS);
});

afterAll(async () => {
  await testbed.close();
  await endAllProcesses();
});

/** What a probe found, or the code and the text of its error. */
async function probe(
  mode: DirtyRateModeName,
  calcTimeMs: number,
  signal?: AbortSignal,
  guest = GUEST,
): Promise<DirtyRateReport | string> {
  const request = {
    guest,
    options: { mode: DIRTY_RATE_MODES.of(mode), calcTimeMs, samplePages: 0 },
  };
  const settings = { what: 'probing', deadlineMs: HOUR_MS, ...(signal && { signal }) };
  try {
    return (await callUnary(testbed.client, 'measureDirtyRate', request, settings)).report!;
  } catch (error) {
    const { code, message } = error as RpcError;
    return `${code}: ${message}`;
  }
}

/** Begins a probe that would last a minute; answers when the host has it. */
async function longProbe(mode: DirtyRateModeName, signal?: AbortSignal, guest = GUEST) {
  const ended = probe(mode, LONG_MS, signal, guest);
  await waitFor(async () => {
    const second = await probe('page-sampling', 10, undefined, guest);
    return typeof second === 'string' && second.startsWith('RESOURCE_EXHAUSTED');
  }, 'the probe to run');
  return { ended };
}

async function expectClean(): Promise<void> {
  const { faultCount, pagesChecked } = await testbed.audit(GUEST);
  expect({ faultCount, pagesChecked }).toEqual({ faultCount: 0n, pagesChecked: 1024n });
}

async function expectMoved(migration: RunningMigration): Promise<void> {
  expect(await migration.ended).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_COMPLETED });
  expect((await testbed.guest(GUEST)).owner).toBe('host-2');
  await expectClean();
}

describe('a probe of the dirty rate', () => {
  beforeEach(() => testbed.createGuest(guestSpec(GUEST), 'host-1'));
  afterEach(() => testbed.destroyGuest(GUEST));

  test('is one command, and says what was measured, what is true and what it cost', async () => {
    const rate = ['dirty-rate', GUEST, '--coordinator', testbed.address, '--calc-time', '300ms'];
    for (const mode of DIRTY_RATE_MODES.names) {
      const { status, stdout, stderr } = await godwit([...rate, '--mode', mode]);
      expect(`${status!.code} ${stderr}`).toBe('0 ');
      expect(stdout).toMatch(/measured +[\d,]+ +[\d,]+ .*\ntruth +[\d,]+ +[\d,]+ .*\nerror: .*cost: /s);
    }
    const { stdout } = await godwit([...rate, '--mode', 'dirty-bitmap', '--json']);
    const { mode, dirty_pages, truth, working_set } = JSON.parse(stdout) as PlainReport;
    expect(mode).toBe('DIRTY_RATE_MODE_DIRTY_BITMAP');
    expect(Math.abs(dirty_pages - truth.dirty_pages)).toBeLessThanOrEqual(truth.edge_writes);
    expect(working_set).toBeUndefined();
    const bad = await godwit([...rate, '--mode', 'dirty-ring', '--sample-pages', '512']);
    expect(bad.status!.code).toBe(2);
    expect(bad.stderr).toContain('only page-sampling has them');
    await expectClean();
  });

  test('of a guest that is being moved is refused in all modes but page-sampling', async () => {
    const hold = {
      point: 'round-1',
      action: FailpointAction.FAILPOINT_ACTION_HOLD,
      durationMs: HOUR_MS / 10,
    };
    const migration = testbed.migrate(GUEST, 'host-2', { failpoints: [hold] });
    await migration.stands('round-1');
    for (const mode of MARKING) {
      expect(await probe(mode, 10)).toMatch(
        /^FAILED_PRECONDITION: .*"watched" cannot be .*migration ".+" has its dirty marks; use page-sampling/,
      );
    }
    expect(await probe('page-sampling', 10)).toMatchObject({ pageCount: 1024n });
    await testbed.releaseFailpoint('host-1', await migration.name());
    await expectMoved(migration);
  });

  test.each(MARKING)('in mode %s ends when a migration begins, which loses nothing', async (mode) => {
    const { ended } = await longProbe(mode);
    const migration = testbed.migrate(GUEST, 'host-2');
    expect(await ended).toMatch(/^ABORTED: .*ended, since migration ".+" began, which needs .*dirty marks/);
    await expectMoved(migration);
    expect(await probe(mode, 10)).toMatchObject({ pageCount: 1024n });
  });

  test('in mode page-sampling goes on beside a migration, until the guest has left', async () => {
    const { ended } = await longProbe('page-sampling');
    await expectMoved(testbed.migrate(GUEST, 'host-2'));
    expect(await ended).toMatch(/^ABORTED: .*ended, since the guest is no more on this host/);
  });

  test('ends with its guest and with its caller', async () => {
    const caller = new AbortController();
    const left = await longProbe('working-set', caller.signal);
    caller.abort();
    expect(await left.ended).toMatch(/^CANCELLED/);
    // The host hears of it, and takes the next.
    await waitFor(async () => typeof (await probe('dirty-bitmap', 10)) !== 'string', 'the next probe');
    const destroyed = await longProbe('dirty-ring');
    await testbed.destroyGuest(GUEST);
    expect(await destroyed.ended).toMatch(/^ABORTED: .*ended, since the guest is no more on this host/);
    await testbed.createGuest(guestSpec(GUEST), 'host-1');
  });

  test('that the host cannot do is refused in words', async () => {
    expect(await probe('dirty-bitmap', 9)).toMatch(
      /^INVALID_ARGUMENT: .*calc time is 9 ms; allowed is 10 to 60000 ms/,
    );
    // The host itself, since the coordinator would first ask it again after a move.
    const ask = (mode: DirtyRateMode, calcTimeMs: number) =>
      callUnary(
        testbed.host('host-1'),
        'measureDirtyRate',
        { guest: GUEST, options: { mode, calcTimeMs, samplePages: 0 } },
        { what: 'probing', deadlineMs: HOUR_MS },
      );
    await expect(ask(DirtyRateMode.DIRTY_RATE_MODE_UNSPECIFIED, 10)).rejects.toThrow(
      'mode is 0; allowed is page-sampling, dirty-bitmap, dirty-ring, working-set',
    );
    const settings = { what: 'pausing', deadlineMs: HOUR_MS };
    await callUnary(testbed.host('host-1'), 'pauseGuest', { guest: GUEST }, settings);
    const bitmap = DIRTY_RATE_MODES.of('dirty-bitmap');
    await expect(ask(bitmap, 10)).rejects.toThrow('it does not run, and writes nothing; resume it first');
    await callUnary(testbed.host('host-1'), 'resumeGuest', { guest: GUEST }, settings);
    expect((await ask(bitmap, 10)).report).toMatchObject({ pageCount: 1024n });
  });
});

// The last, since nobody is left.
test('a probe ends with its host, which does not wait for it, and with one that is killed', async () => {
  await testbed.createGuest(guestSpec(GUEST), 'host-1');
  await testbed.createGuest(guestSpec('other'), 'host-2');
  const stopped = await longProbe('dirty-bitmap');
  const killed = await longProbe('dirty-ring', undefined, 'other');
  const host = testbed.askToEnd('host-1');
  expect(await stopped.ended).toMatch(/^ABORTED: .*ended, since this host ends/);
  expect((await host.end()).code).toBe(0);
  await testbed.killHost('host-2');
  expect(await killed.ended).toMatch(/^UNAVAILABLE: /);
});
