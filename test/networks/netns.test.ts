/**
 * The fabric of network namespaces, as users start it: what it makes, that the machine's own network stays as it
 * was, and that nothing is left however it ends. Needs root; without it the tests are skipped and say why.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { moveAround } from '../../bench/scale.ts';
import { NamespaceKeeper } from '../../fabric/namespace-keeper.ts';
import { startNetnsFabric } from '../../fabric/netns-fabric.ts';
import { newRun, removeLeftovers } from '../../fabric/netns-runs.ts';
import { kernelFeatures, trialProblem } from '../../hosts/network/kernel-features.ts';
import { resultRecordSchema } from '../../records/result-record.ts';
import {
  descendants,
  endAllProcesses,
  godwit,
  StartedProcess,
  startGodwit,
  waitFor,
  waitForNoProcess,
} from '../support/processes.ts';

const { permitted, htb, missing } = await kernelFeatures();
const problem =
  (permitted && htb ? undefined : (missing.permitted ?? missing.htb)) ??
  (await trialProblem('ip link add trial type veth peer name other'.split(' '))) ??
  (await trialProblem('ip link add trial type bridge'.split(' ')));
const skipped = problem !== undefined;
const about = skipped ? ` (skipped, this machine cannot: ${problem})` : '';
if (skipped) process.stderr.write(`netns.test.ts is skipped: ${problem}\n`);

const folder = mkdtempSync(join(tmpdir(), 'godwit-netns-'));
const spec = join(folder, 'spec.yaml');
writeFileSync(
  spec,
  `
warm-up: 100ms
settle: 100ms
fabric: {kind: netns, hosts: 2}
guest:
  memory: 4MiB
  workload: {kind: uniform, rate: 500 pages/s}
migration: {technique: pre-copy}
`,
);

afterEach(async () => {
  await endAllProcesses();
  if (!skipped) await removeLeftovers();
});

afterAll(() => rmSync(folder, { recursive: true }));

/** The namespaces and sockets of one run, or of all. */
function namesOf(run = ''): string[] {
  const names = ['/run/netns', '/run'].flatMap((path) => (existsSync(path) ? readdirSync(path) : []));
  return names.filter((name) => name.startsWith(`godwit-${run}`)).sort();
}

/** The machine's own devices, addresses and routes. */
function ownNetwork(): string[] {
  const words = ['-oneline', '-brief'];
  return ['link', 'address', 'route'].map((what) =>
    execFileSync('ip', [...words, what, 'show'], { encoding: 'utf8' }),
  );
}

interface Testbed {
  readonly up: StartedProcess;
  readonly run: string;
}

async function startUp(hosts: number): Promise<Testbed> {
  const up = startGodwit(['up', '--fabric', 'netns', '--hosts', String(hosts)]);
  const [, run = ''] = await up.prints(/unix:\/run\/godwit-([^.]+)\.sock/);
  return { up, run };
}

/** Ends a testbed and its keeper without a chance to remove anything. */
async function killWithKeeper({ up }: Testbed): Promise<void> {
  const keepers = descendants(up.pid).filter(({ command }) => command.includes('godwit-keeper'));
  expect(keepers).toHaveLength(1);
  for (const { pid } of keepers) process.kill(pid, 'SIGKILL');
  up.kill('SIGKILL');
  await up.end();
}

describe.skipIf(skipped)(`a testbed in network namespaces${about}`, () => {
  test('runs an experiment, and leaves nothing behind', async () => {
    const before = { names: namesOf(), own: ownNetwork() };
    const out = join(folder, 'out');
    const run = await godwit(['run', spec, '--out', out]);
    expect(run.status, run.describe()).toEqual({ code: 0, signal: null });
    const record = resultRecordSchema.parse(JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')));
    expect(record.spec).toMatchObject({ fabric: { kind: 'netns', hosts: 2 } });
    expect(record.trials).toMatchObject([{ status: 'completed', audit: { fault_count: 0 } }]);
    expect({ names: namesOf(), own: ownNetwork() }).toEqual(before);
    await waitForNoProcess();
  });

  test('has a namespace for each host, for the bridge and for clients, and touches no other network', async () => {
    const before = ownNetwork();
    const { up, run } = await startUp(2);
    const parts = ['-client', '-host-1', '-host-2', '-net', '.sock'];
    expect(namesOf(run)).toEqual(parts.map((part) => `godwit-${run}${part}`));
    expect(ownNetwork()).toEqual(before);
    const hosts = await godwit(['hosts', '--coordinator', `unix:/run/godwit-${run}.sock`]);
    expect(hosts.stdout, hosts.describe()).toMatch(/^host-1 +alive +10\.0\.1\.1:\d+/m);
    expect(hosts.stdout).toMatch(/^host-2 +alive +10\.0\.1\.2:\d+/m);
    up.kill('SIGINT');
    expect(await up.end()).toEqual({ code: 130, signal: null });
    expect(namesOf(run)).toEqual([]);
  });

  test('is gone after its owner was killed: processes, namespaces and socket', async () => {
    const { up, run } = await startUp(2);
    expect(namesOf(run)).toHaveLength(5);
    up.kill('SIGKILL');
    await up.end();
    await waitFor(() => namesOf(run).length === 0, `the end of the namespaces of ${run}`);
    await waitForNoProcess();
  });

  test('whose keeper was killed too is removed by the next start or by clean, a living one never', async () => {
    const first = await startUp(1);
    await killWithKeeper(first);
    expect(namesOf(first.run)).toHaveLength(4);
    const living = await startUp(1);
    expect(namesOf(first.run)).toEqual([]);
    const second = await startUp(1);
    await killWithKeeper(second);
    const clean = await godwit(['clean', '--json']);
    expect(clean.status, clean.describe()).toEqual({ code: 0, signal: null });
    const { removed, alive } = JSON.parse(clean.stdout) as { removed: string[]; alive: string[] };
    expect(removed).toContain(second.run);
    expect(alive).toContain(living.run);
    expect(namesOf(second.run)).toEqual([]);
    expect(namesOf(living.run)).toHaveLength(4);
    const again = await godwit(['clean']);
    expect(again.stdout, again.describe()).toContain('nothing was left behind');
  });

  test('starts a killed host again in its place', async () => {
    const fabric = await startNetnsFabric({
      hostCount: 2,
      memoryBytesPerHost: 1024 ** 3,
      stateFile: ':memory:',
      leaseMs: 1000,
    });
    try {
      await fabric.kill('host-2');
      await fabric.restart('host-2');
      expect(fabric.hosts()).toMatchObject([{ running: true }, { name: 'host-2', running: true }]);
    } finally {
      await fabric.close();
    }
  });

  test('of six hosts moves the guest of each to its neighbour, with clean audits', async () => {
    const { failures, moveMs } = await moveAround(6);
    expect(failures).toEqual([]);
    expect(moveMs).toHaveLength(6);
  });

  test('tells what ip refused with the command and the answer, and takes away what stood', async () => {
    const run = newRun();
    const keeper = NamespaceKeeper.start(run);
    try {
      await keeper.ip(['netns', 'add', `godwit-${run}-net`]);
      await expect(keeper.ip(['link', 'add', 'x', 'type', 'nonsense'])).rejects.toThrow(
        /^ip link add x type nonsense: .*[Uu]nknown/,
      );
      expect(namesOf(run)).toHaveLength(1);
    } finally {
      await keeper.close();
    }
    expect(namesOf(run)).toEqual([]);
  });
});

test.skipIf(process.platform !== 'linux')(
  'without the right to make namespaces nothing is started: exit code 2 and what to do',
  async () => {
    const args = [join('cli', 'godwit.mjs'), 'run', spec, '--out', join(folder, 'refused')];
    const limited = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin', process.execPath, ...args];
    const run = skipped ? await godwit(args.slice(1)) : new StartedProcess('setpriv', limited);
    expect(await run.end(), run.describe()).toEqual({ code: 2, signal: null });
    expect(run.stderr).toMatch(
      /fabric netns: .*SYS_ADMIN; run it as root, or take fabric: \{kind: process\}/,
    );
    expect(existsSync(join(folder, 'refused'))).toBe(false);
  },
);
