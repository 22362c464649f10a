/** The `godwit` command with real processes: what it runs, prints and leaves behind. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type ResultRecord, resultRecordSchema } from '../../records/result-record.ts';
import {
  descendants,
  endAllProcesses,
  godwit,
  isRunning,
  processesOfThisTest,
  type StartedProcess,
  startGodwit,
  waitFor,
  waitForNoProcess,
} from '../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-cli-'));

afterAll(async () => {
  await endAllProcesses();
  rmSync(folder, { recursive: true });
});

interface SpecChanges {
  readonly trials?: number;
  readonly warmUp?: string;
  readonly technique?: string;
  readonly migration?: string;
}

let specCount = 0;

/** A spec of a small guest that writes now and then. */
function specFile(changes: SpecChanges = {}): string {
  const { trials = 1, warmUp = '100ms', technique = '[stop-and-copy, pre-copy]', migration = '' } = changes;
  const file = join(folder, `spec-${++specCount}.yaml`);
  writeFileSync(
    file,
    `
name: small
trials: ${trials}
warm-up: ${warmUp}
settle: 100ms
guest:
  memory: 4MiB
  content: {zero: 0.25}
  workload: {kind: uniform, rate: 500 pages/s}
migration:
  technique: ${technique}
  ${migration}
`,
  );
  return file;
}

/** A migration at 8 KiB/s, which takes minutes: there is time to interrupt it. */
const slow = { technique: 'pre-copy', migration: 'max-bandwidth: 8KiB/s\n  total-time-limit: 10m' };
const slowFlags = ['--max-bandwidth', '8KiB/s', '--total-time-limit', '10m'];

function results(out: string): ResultRecord {
  return resultRecordSchema.parse(JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')));
}

describe('godwit run', () => {
  test('moves the guest with each technique, prints a table and writes proven results', async () => {
    const out = join(folder, 'two');
    const run = await godwit(['run', specFile({ trials: 2 }), '--out', out, '--seed', '7']);
    expect(run.status, run.describe()).toEqual({ code: 0, signal: null });
    expect(run.stdout).toMatch(/TECHNIQUE +TRIALS +TOTAL TIME +DOWNTIME/);
    expect(run.stdout).toMatch(/^stop-and-copy +2 .* clean$/m);
    expect(run.stdout).toMatch(/^pre-copy +2 .* clean$/m);
    expect(run.stdout).toContain(join(out, 'results.json'));
    expect(run.stdout).not.toContain('\u001b');
    const { trials, spec } = results(out);
    expect(spec).toMatchObject({ name: 'small', seed: 7, trials: 2 });
    expect(trials.map(({ technique, trial }) => `${technique} ${trial}`)).toEqual([
      'stop-and-copy 1',
      'pre-copy 1',
      'stop-and-copy 2',
      'pre-copy 2',
    ]);
    for (const trial of trials) {
      expect(trial).toMatchObject({ status: 'completed', dirty_rate_pps_requested: 500 });
      expect(trial.audit).toMatchObject({ pages_checked: 1024, fault_count: 0 });
      expect(trial.downtime_ms).toBeGreaterThan(0);
      expect(trial.operations?.length).toBeGreaterThan(0);
    }
    expect(readdirSync(out)).toEqual(['results.json']);
    await waitForNoProcess();
  });

  test('goes on after a trial whose host died, and prints with --json only the record', async () => {
    const out = join(folder, 'killed');
    // So slow that pages are dirty after the first round; stop-and-copy has no second one and is not hit.
    const migration = [
      ...['max-bandwidth: 16MiB/s', 'downtime-limit: 1ms'],
      'failpoints: [{at: round-2, do: kill}]',
    ].join('\n  ');
    const spec = specFile({ technique: '[pre-copy, stop-and-copy]', migration });
    const run = await godwit(['run', spec, '--out', out, '--json']);
    expect(run.status, run.describe()).toEqual({ code: 1, signal: null });
    expect(JSON.parse(run.stdout)).toEqual(JSON.parse(JSON.stringify(results(out))));
    expect(results(out).trials).toMatchObject([
      { technique: 'pre-copy', status: 'lost', audit: null },
      { technique: 'stop-and-copy', status: 'completed', audit: { fault_count: 0 } },
    ]);
    expect(run.stderr).toMatch(/host-\d \(process \d+\) was ended by SIGKILL/);
    expect(run.stderr).toMatch(/^stop-and-copy .*sent/m);
    await waitForNoProcess();
  });
});

describe('bad usage', () => {
  test('a bad spec is told with file, line and column, starts nothing and ends with exit code 2', async () => {
    const out = join(folder, 'bad');
    const run = startGodwit(['run', specFile({ migration: 'chanels: 2' }), '--out', out]);
    const seen = new Set<string>();
    await waitFor(() => {
      for (const { command } of descendants(run.pid)) seen.add(command);
      return run.status !== undefined;
    }, 'the end of a run of a bad spec');
    expect(run.status, run.describe()).toEqual({ code: 2, signal: null });
    expect(run.stderr).toMatch(/spec-\d+\.yaml:\d+:\d+: migration\.chanels: .*did you mean "channels"/);
    expect([...seen]).toEqual([]);
    expect(existsSync(out)).toBe(false);
  });

  test.each([
    { what: 'an unknown command', args: ['rum'], says: /unknown command 'rum'/ },
    {
      what: 'a spec that is missing',
      args: ['run', join(folder, 'none.yaml')],
      says: /none\.yaml.*no such file/,
    },
    { what: 'a spec that is a folder', args: ['run', folder], says: /cannot read the spec/ },
  ])('$what ends with exit code 2 and a sentence', async ({ args, says }) => {
    const run = await godwit(args);
    expect(run.status, run.describe()).toEqual({ code: 2, signal: null });
    expect(run.stderr).toMatch(says);
    expect(run.stdout).toBe('');
  });

  test('results that cannot be written are told before anything is started', async () => {
    const file = specFile();
    // Below /proc every mkdir answers ENOENT, and Node's own recursion would never end.
    for (const out of [join(file, 'results'), '/proc/godwit/results']) {
      const run = await godwit(['run', file, '--out', out]);
      expect(run.status, run.describe()).toEqual({ code: 2, signal: null });
      expect(run.stderr).toContain('--out');
    }
  });

  test('a testbed that is not there is told with its address, and exit code 1', async () => {
    const run = await godwit(['guests', '--coordinator', '127.0.0.1:1']);
    expect(run.status, run.describe()).toEqual({ code: 1, signal: null });
    expect(run.stderr).toContain('127.0.0.1:1');
  });
});

describe('an interrupted run leaves no process behind', () => {
  const during = {
    'its setup': {
      changes: {},
      reached: () => processesOfThisTest().length > 1,
    },
    'the warm-up, or just before it': {
      changes: { warmUp: '10m' },
      reached: () => processesOfThisTest().length === 4,
    },
    'a migration': {
      changes: slow,
      reached: (run: StartedProcess) => /^pre-copy .*round 1/m.test(run.stdout),
    },
    'the time between two trials': {
      changes: { trials: 50 },
      reached: (run: StartedProcess) => /^stop-and-copy 1\/50 {2}completed/m.test(run.stdout),
    },
  } as const;

  afterEach(endAllProcesses);

  test.each(Object.keys(during) as (keyof typeof during)[])('by Ctrl-C in %s', async (moment) => {
    const { changes, reached } = during[moment];
    const out = join(folder, `interrupted-${specCount}`);
    const run = startGodwit(['run', specFile(changes), '--out', out]);
    await waitFor(
      () => reached(run),
      () => `${moment} of ${run.describe()}`,
    );
    const children = descendants(run.pid);
    expect(children.length).toBeGreaterThan(0);
    run.kill('SIGINT');
    await run.end();
    expect(run.status, run.describe()).toEqual({ code: 130, signal: null });
    await waitForNoProcess();
    expect(children.filter(isRunning)).toEqual([]);
    if (moment === 'a migration') expect(results(out).trials).toMatchObject([{ status: 'cancelled' }]);
  });

  test('by two Ctrl-C, though its hosts hang', async () => {
    const run = startGodwit(['run', specFile(slow), '--out', join(folder, 'twice')]);
    await run.prints(/^pre-copy .*round 1/m);
    const hosts = descendants(run.pid).filter(({ command }) => command.includes('--name host-'));
    for (const { pid } of hosts) process.kill(pid, 'SIGSTOP');
    // Again until it has ended: what comes at once counts as the same press.
    await waitFor(() => {
      run.kill('SIGINT');
      return run.status !== undefined;
    }, 'the end of a run that is interrupted again and again');
    // A process that is being taken down already ends by the signal, which shells call 130 too.
    expect([130, null], run.describe()).toContain(run.status?.code);
    expect(hosts.filter(isRunning)).toEqual(hosts);
    for (const { pid } of hosts) process.kill(pid, 'SIGCONT');
    await waitForNoProcess();
  });

  test('by kill -9', async () => {
    const run = startGodwit(['run', specFile(slow), '--out', join(folder, 'killed-by-9')]);
    await run.prints(/^pre-copy .*round 1/m);
    expect(descendants(run.pid).length).toBe(3);
    run.kill('SIGKILL');
    await run.end();
    await waitForNoProcess();
  });
});

describe('a testbed that is up', () => {
  let up: StartedProcess;
  let env: Record<string, string>;

  beforeAll(async () => {
    up = startGodwit(['up', '--listen', '127.0.0.1:0', '--memory', '64MiB', '--hosts', '2']);
    const [, address = ''] = await up.prints(/coordinator at (\S+),/);
    env = { GODWIT_COORDINATOR: address };
  });

  afterAll(async () => {
    up.kill('SIGINT');
    await up.end();
    await waitForNoProcess();
  });

  async function done(...args: string[]): Promise<string> {
    const run = await godwit(args, { env });
    expect(run.status, run.describe()).toEqual({ code: 0, signal: null });
    return run.stdout;
  }

  const json = async (...args: string[]): Promise<unknown> => JSON.parse(await done(...args, '--json'));

  test('says how to go on, and lists its hosts', async () => {
    expect(up.stdout).toMatch(/godwit create .*\n.*godwit guests\n.*godwit migrate/);
    // A host says with its first heartbeat what it has.
    await waitFor(
      async () => /^host-1 +alive .*\nhost-2 +alive .* 64\.0 MiB$/m.test(await done('hosts')),
      'two hosts with their memory',
    );
    expect(await json('hosts')).toMatchObject([
      { host: 'host-1', alive: true },
      { host: 'host-2', alive: true },
    ]);
  });

  test('makes, moves, audits and destroys a guest by hand', async () => {
    const flags = ['--memory', '4MiB', '--workload', 'uniform', '--rate', '500 pages/s'];
    expect(await done('create', 'web', '--host', 'host-1', ...flags)).toBe('guest web runs on host-1\n');
    // The host says with its next heartbeat how the guest is.
    await waitFor(
      async () => /^web +host-1 +running +uniform .* 4\.00 MiB$/m.test(await done('guests')),
      'a guest that runs',
    );
    const moved = await done('migrate', 'web', '--to', 'host-2', '--technique', 'stop-and-copy', '--audit');
    expect(moved).toMatch(/^stop-and-copy +1 .* clean$/m);
    expect(moved).toMatch(/guest web is on host-2/);
    expect(await json('guests')).toMatchObject([
      {
        spec: { name: 'web', memory_bytes: 4 << 20 },
        owner: 'host-2',
        epoch: 2,
      },
    ]);
    expect(await json('migrate', 'web', '--audit')).toMatchObject({
      guest: 'web',
      technique: 'pre-copy',
      status: 'completed',
      owner: 'host-1',
      source: 'host-2',
      destination: 'host-1',
      audit: { pages_checked: 1024, fault_count: 0 },
    });
    expect(await done('audit', 'web')).toMatch(/^guest web: clean \(1,024 pages checked against the ledger/);
    expect(await done('destroy', 'web')).toBe('guest web was destroyed\n');
    expect(await json('guests')).toEqual([]);
  });

  test('cancels a migration from another terminal; the guest runs on', async () => {
    await done('create', 'slow', '--memory', '4MiB', '--host', 'host-1');
    const migrate = startGodwit(['migrate', 'slow', ...slowFlags], { env });
    await migrate.prints(/round 1/);
    expect(await done('cancel', 'slow')).toMatch(/cancelled/);
    await migrate.end();
    expect(migrate.status?.code, migrate.describe()).toBe(1);
    expect(migrate.stdout).toMatch(/pre-copy, trial 1 cancelled: .*\n\nguest slow is on host-1/);
    expect(await done('audit', 'slow')).toMatch(/clean/);
    await done('destroy', 'slow');
  });

  test('cancels a migration at Ctrl-C', async () => {
    await done('create', 'slow', '--memory', '4MiB', '--host', 'host-1');
    const migrate = startGodwit(['migrate', 'slow', ...slowFlags], { env });
    await migrate.prints(/round 1/);
    migrate.kill('SIGINT');
    await migrate.end();
    expect(migrate.status?.code, migrate.describe()).toBe(130);
    expect(await json('guests')).toMatchObject([{ owner: 'host-1', migration: '', lost: '' }]);
    await done('destroy', 'slow');
  });

  test('runs an experiment, and is up afterwards without the guest of it', async () => {
    const out = join(folder, 'on-testbed');
    const spec = specFile({ technique: 'pre-copy' });
    await done('run', spec, '--out', out, '--coordinator', env.GODWIT_COORDINATOR ?? '');
    expect(results(out).trials).toMatchObject([{ status: 'completed' }]);
    expect(await json('guests')).toEqual([]);
  });

  test('tells what happens, as it happens', async () => {
    const watch = startGodwit(['watch', '--json'], { env });
    await done('create', 'seen', '--memory', '1MiB');
    await done('destroy', 'seen');
    const [line] = await watch.prints(/^\{.*"guest-destroyed","subject":"seen".*$/m);
    expect(JSON.parse(line)).toMatchObject({ kind: 'guest-destroyed', subject: 'seen' });
    watch.kill('SIGINT');
    await watch.end();
    expect(watch.status?.code, watch.describe()).toBe(130);
  });

  test('refuses what cannot be, in a sentence, and exit code 1', async () => {
    const tooLarge = await godwit(['create', 'large', '--memory', '128MiB'], { env });
    expect(tooLarge.status?.code, tooLarge.describe()).toBe(1);
    expect(tooLarge.stderr).toMatch(/^create guest large: /);
    const unknown = await godwit(['migrate', 'nobody'], { env });
    expect(unknown.status?.code, unknown.describe()).toBe(1);
    expect(unknown.stderr).toMatch(/^migrate guest nobody: /);
  });

  test('tells of a host that was killed', async () => {
    const host = descendants(up.pid).find(({ command }) => command.includes('--name host-2'));
    process.kill(host?.pid ?? 0, 'SIGKILL');
    await up.prints(/host-2 \(process \d+\) was ended by SIGKILL/);
  });
});

test('godwit doctor says that local hosts can run here', async () => {
  const run = await godwit(['doctor', '--json']);
  expect(run.status, run.describe()).toEqual({ code: 0, signal: null });
  expect(JSON.parse(run.stdout)).toMatchObject({ able: true });
});
