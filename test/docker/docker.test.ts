/**
 * The containers, for real: an engine that the test starts, the image that users build, and guests that move
 * between containers. A machine that cannot run an engine has these tests skipped, and is told why; from the
 * first step that is godwit's own, which is the building of the image, everything that goes wrong is a
 * failure.
 */
import { afterAll, afterEach, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { errorText } from '../../proto/errors.ts';
import type { ResultRecord } from '../../records/result-record.ts';
import { waitUntil } from './support/commands.ts';
import { Engine, SWARM_ADDRESS } from './support/engine.ts';
import { Stack } from './support/stack.ts';

const DEADLINE_MS = 15 * 60_000;
const SMALL = { GODWIT_SPEC: 'small' };
const HOST_COUNT = 10;
const NO_CAPABILITY = '0000000000000000';
const NET_ADMIN = '0000000000001000';

let engine: Engine | undefined;
let stack: Stack | undefined;
let whyNot = '';

beforeAll(async () => {
  try {
    engine = await Engine.start();
  } catch (error) {
    whyNot = `no Docker engine can be run here: ${errorText(error)}`;
    process.stderr.write(`\nSKIPPED: the tests of the containers: ${whyNot}\n\n`);
    return;
  }
  stack = await Stack.build(engine);
});

afterEach(async () => {
  await stack?.compose('--profile', 'run', 'down', '--volumes');
});

afterAll(async () => {
  await engine?.close();
});

/** A test that needs the engine. */
function testContainers(name: string, body: (stack: Stack) => Promise<void>): void {
  test(name, async (context: TestContext) => {
    if (stack === undefined) return context.skip(whyNot);
    await body(stack);
  });
}

/** The results that are there now and were not before. */
function newResults(it: Stack, before: ReadonlySet<string>): ResultRecord[] {
  return [...it.results()].filter(([path]) => !before.has(path)).map(([, record]) => record);
}

describe('docker compose up', () => {
  testContainers(
    'runs the quickstart between containers and leaves its results in the folder',
    async (it) => {
      const before = new Set(it.results().keys());
      const { code, text } = await it.tryCompose({}, 'up', '--exit-code-from', 'runner');
      expect(code, text).toBe(0);
      const [record] = newResults(it, before);
      expect(record?.spec.name).toBe('quickstart');
      expect(
        record?.trials.map(({ technique, status, audit }) => [technique, status, audit?.fault_count]),
      ).toEqual([
        ['stop-and-copy', 'completed', 0],
        ['pre-copy', 'completed', 0],
      ]);
    },
  );

  testContainers("moves a guest's own address with it, to clients in the runner's container", async (it) => {
    const before = new Set(it.results().keys());
    const settings = { GODWIT_SPEC: 'own-address' };
    const { code, text } = await it.tryCompose(settings, 'up', '--exit-code-from', 'runner');
    expect(code, text).toBe(0);
    const [record] = newResults(it, before);
    expect(record?.trials.map(({ status, audit }) => [status, audit?.fault_count])).toEqual([
      ['completed', 0],
      ['completed', 0],
    ]);
    const clients = record?.trials.flatMap((trial) => trial.clients ?? []) ?? [];
    expect(clients.map(({ protocol, via, wrong }) => ({ protocol, via, wrong })).sort(byProtocol)).toEqual(
      ['tcp', 'tcp', 'udp', 'udp'].map((protocol) => ({ protocol, via: 'address', wrong: 0 })),
    );
    for (const { latency_ms: latency } of clients) {
      expect(latency.before.count, text).toBeGreaterThan(0);
      // They found the guest in its new container.
      expect(latency.after.count, text).toBeGreaterThan(0);
    }
  });

  testContainers('ends with the exit code of an experiment that cannot be run, and says why', async (it) => {
    const { code, text } = await it.tryCompose(
      { GODWIT_SPEC: 'none-such' },
      ...['up', '--exit-code-from', 'runner'],
    );
    expect(code, text).toBe(2);
    expect(text).toContain('experiments/none-such.yaml');
  });
});

describe('a lab', () => {
  testContainers('of ten hosts moves a guest through a link that the kernel shapes', async (it) => {
    const up = ['--profile', 'lab', 'up', '--detach', '--scale', `host=${HOST_COUNT}`];
    const { code, text } = await it.tryCompose({ GODWIT_NETWORK: 'tc' }, ...up);
    expect(code, text).toBe(0);
    const healthy = async (): Promise<string[]> =>
      (await it.docker({}, 'ps', '--quiet', '--filter', 'health=healthy')).split('\n').filter(Boolean);
    await waitUntil(
      async () => (await healthy()).length === HOST_COUNT + 1,
      async () => `every container to be healthy:\n${await it.docker({}, 'ps', '--all')}`,
      DEADLINE_MS,
    );
    const hosts = JSON.parse(await it.godwit('hosts', '--json')) as { host: string; alive: boolean }[];
    const living = hosts.filter(({ alive }) => alive).map(({ host }) => host);
    const expected = Array.from({ length: HOST_COUNT }, (_, index) => `host-${index + 1}`);
    expect(living.toSorted()).toEqual(expected.toSorted());

    const inHost3 = (...command: string[]): Promise<string> =>
      it.compose('exec', '-T', '--index', '3', 'host', ...command);
    expect(await inHost3('ip', '-brief', 'link'), 'no device of a trial is left').not.toContain('gw-');
    await it.godwit('link', 'host-3', '--rate', '100mbit');
    expect(await inHost3('tc', 'class', 'show', 'dev', 'eth0')).toContain('class htb 1:1 root');
    await it.godwit('create', 'web-1', '--memory', '4MiB', '--host', 'host-3');
    await it.godwit('migrate', 'web-1', '--to', 'host-10');
    expect(await it.godwit('guests')).toMatch(/web-1\s.*host-10/);
    expect(await it.godwit('audit', 'web-1')).toContain('clean');
    await it.godwit('link', 'host-3', '--unshape');
    expect(await inHost3('tc', 'class', 'show', 'dev', 'eth0')).toBe('');

    const [coordinator = ''] = await it.containers('coordinator');
    expect(await it.rights('coordinator', coordinator)).toEqual({
      service: 'coordinator',
      userIds: ['1000'],
      boundingCapabilities: [NO_CAPABILITY],
      effectiveCapabilities: [NO_CAPABILITY],
    });
    const [host = ''] = await it.containers('host');
    expect(await it.rights('host', host)).toEqual({
      service: 'host',
      userIds: ['1000'],
      boundingCapabilities: [NET_ADMIN],
      // The container's init has none, the host process has it, so that it can shape its network.
      effectiveCapabilities: [NO_CAPABILITY, NET_ADMIN],
    });

    const containers = await it.containers();
    await it.compose('stop');
    const codes = await it.docker({}, 'inspect', '--format', '{{.State.ExitCode}}', ...containers);
    expect(codes.trim().split('\n'), 'ended in order when they were asked to').toEqual(
      containers.map(() => '0'),
    );
  });
});

describe('docker stack deploy', () => {
  testContainers('runs the experiment on a swarm of one node', async (it) => {
    const before = new Set(it.results().keys());
    await it.docker({}, 'swarm', 'init', '--advertise-addr', SWARM_ADDRESS);
    try {
      const deploy = ['stack', 'deploy', '--resolve-image', 'never', '--compose-file', 'docker-compose.yml'];
      await it.docker(SMALL, ...deploy, 'godwit');
      const state = (format: string): Promise<string> =>
        it.docker({}, 'service', 'ps', 'godwit_runner', '--no-trunc', '--format', format);
      await waitUntil(
        async () => /^(Complete|Failed|Rejected|Shutdown)/m.test(await state('{{.CurrentState}}')),
        async () => `the end of the runner:\n${await describeSwarm(it)}`,
        DEADLINE_MS,
      );
      expect(await state('{{.CurrentState}}'), await describeSwarm(it)).toMatch(/^Complete/);
      const [record] = newResults(it, before);
      expect(record?.trials.map(({ status, audit }) => [status, audit?.fault_count])).toEqual([
        ['completed', 0],
        ['completed', 0],
      ]);
    } finally {
      await it.docker({}, 'swarm', 'leave', '--force');
    }
  });
});

function byProtocol(left: { protocol: string }, right: { protocol: string }): number {
  return left.protocol.localeCompare(right.protocol);
}

/** The tasks of the stack and what they printed, for a failure's message. */
async function describeSwarm(it: Stack): Promise<string> {
  const parts = [await it.docker({}, 'stack', 'ps', 'godwit', '--no-trunc')];
  for (const service of ['runner', 'host', 'coordinator']) {
    parts.push(await it.docker({}, 'service', 'logs', '--no-trunc', `godwit_${service}`));
  }
  return parts.join('\n').slice(-16 * 1024);
}
