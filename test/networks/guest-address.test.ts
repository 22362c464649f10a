/**
 * A guest's own address, for real: it moves between two hosts in namespaces of the fabric while a client in a third
 * one speaks to it. Needs root; without it the tests are skipped and say why.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Fabric } from '../../fabric/fabric.ts';
import { startNetnsFabric } from '../../fabric/netns-fabric.ts';
import { kernelFeatures, trialProblem } from '../../hosts/network/kernel-features.ts';
import { run } from '../../hosts/network/run-command.ts';
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
  (await trialProblem('ip link add trial type bridge'.split(' ')));
const skipped = problem !== undefined;
const about = skipped ? ` (skipped, this machine cannot: ${problem})` : '';
if (skipped) process.stderr.write(`guest-address.test.ts is skipped: ${problem}\n`);

const ADDRESS = '10.0.2.1';
const PORT = '7000';
const DEVICE = 'eth0';

/** A namespace of the fabric, with which ip is told where to be. */
interface Place {
  readonly name: string;
  readonly namespace: string;
}

let fabric: Fabric;
let hostA: Place;
let hostB: Place;
let client: Place;

beforeAll(async () => {
  if (skipped) return;
  fabric = await startNetnsFabric({
    hostCount: 2,
    memoryBytesPerHost: 1024 ** 2,
    stateFile: ':memory:',
    leaseMs: 1000,
  });
  const namespace = fabric.client.prefix.at(-1) ?? '';
  const place = (name: string): Place => ({ name, namespace: namespace.replace(/client$/, name) });
  [hostA, hostB, client] = [place('host-1'), place('host-2'), place('client')];
});

beforeEach(async () => {
  if (!skipped) await run(['ip', '-n', client.namespace, 'neighbour', 'flush', 'dev', DEVICE]);
});

afterEach(async () => {
  await endAllProcesses();
  if (skipped) return;
  // The shells that would have taken the address away have been killed with all others.
  for (const { namespace } of [hostA, hostB]) {
    await run(['ip', '-n', namespace, 'address', 'flush', 'dev', DEVICE, 'to', `${ADDRESS}/32`]);
  }
});
afterAll(() => fabric?.close());

/** A program that is told what to do on stdin. */
class Program {
  readonly process: StartedProcess;
  #count = 0;

  constructor({ namespace }: Place, script: string, ...args: readonly string[]) {
    const words = ['netns', 'exec', namespace, process.execPath, `test/networks/${script}`, ...args];
    this.process = new StartedProcess('ip', words);
  }

  async tell(command: string): Promise<string> {
    const number = ++this.#count;
    this.process.say(`${number} ${command}`);
    return (await this.process.prints(new RegExp(`^${number}: (.*)$`, 'm')))[1] ?? '';
  }
}

async function startGuest(place: Place, device = DEVICE): Promise<Program> {
  const guest = new Program(place, 'echo-guest.ts', place.name, ADDRESS, PORT, device);
  await guest.process.prints(/^ready$/m);
  return guest;
}

async function startClient(): Promise<Program> {
  const program = new Program(client, 'echo-client.ts', ADDRESS, PORT);
  await program.process.prints(/^ready$/m);
  return program;
}

async function hasAddress({ namespace }: Place): Promise<boolean> {
  return (await run(['ip', '-n', namespace, 'address', 'show', 'dev', DEVICE])).includes(`${ADDRESS}/32`);
}

async function restartHostA(): Promise<void> {
  await fabric.kill(hostA.name);
  await fabric.restart(hostA.name);
}

async function hardwareAddress({ namespace }: Place): Promise<string> {
  const text = await run(['ip', '-n', namespace, '-oneline', 'link', 'show', 'dev', DEVICE]);
  return /link\/ether (\S+)/.exec(text)?.[1] ?? '';
}

/** To whom the client would send a packet for the guest. */
async function neighbour(): Promise<string | undefined> {
  const text = await run(['ip', '-n', client.namespace, 'neighbour', 'show', ADDRESS]);
  return /lladdr (\S+)/.exec(text)?.[1];
}

describe.skipIf(skipped)(`a guest's own address${about}`, () => {
  test('moves: an announcement tells the client of the new host, and nobody else has the address', async () => {
    const [a, b] = await Promise.all([startGuest(hostA), startGuest(hostB)]);
    const someone = await startClient();
    await a.tell('announce');
    expect(await someone.tell('udp first')).toBe('host-1 first');
    expect(await neighbour()).toBe(await hardwareAddress(hostA));

    await a.tell('withdraw');
    await waitFor(async () => !(await hasAddress(hostA)), 'the end of the address on host-1');
    expect(await hasAddress(hostB)).toBe(false);
    await b.tell('announce');
    // The client sends nothing meanwhile: only the announcement can have told it.
    const bHardware = await hardwareAddress(hostB);
    await waitFor(async () => (await neighbour()) === bHardware, 'the announcement at the client');
    expect(await someone.tell('udp second')).toBe('host-2 second');
    expect(await hasAddress(hostA)).toBe(false);

    await b.tell('close');
    expect(await hasAddress(hostB)).toBe(false);
  });

  test('over TCP answers until it leaves, then resets, and a new connection reaches the new host', async () => {
    const [a, b] = await Promise.all([startGuest(hostA), startGuest(hostB)]);
    const someone = await startClient();
    await a.tell('announce');
    expect(await someone.tell('connect')).toBe('connected');
    expect(await someone.tell('tcp first')).toBe('host-1 first');

    await a.tell('withdraw');
    await waitFor(async () => !(await hasAddress(hostA)), 'the end of the address on host-1');
    await b.tell('announce');
    await waitFor(() => hasAddress(hostB), 'the address on host-2');
    expect(await someone.tell('tcp lost')).toBe('ECONNRESET');
    expect(await someone.tell('connect')).toBe('connected');
    expect(await someone.tell('tcp second')).toBe('host-2 second');
  });

  test('keeps what comes while the guest stands still, and hands it over in order', async () => {
    const [a, someone] = await Promise.all([startGuest(hostA), startClient()]);
    await a.tell('announce');
    expect(await someone.tell('udp 0')).toBe('host-1 0');
    expect(await someone.tell('connect')).toBe('connected');
    await a.tell('hold');
    for (const text of ['1', '2', '3']) await someone.tell(`send ${text}`);
    const answer = someone.tell('tcp 4');
    await a.tell('room');
    expect(await answer).toBe('host-1 4');
    await waitFor(async () => (await someone.tell('heard')).endsWith('3'), 'the answers to what was kept');
    expect(await someone.tell('heard')).toBe('host-1 0,host-1 1,host-1 2,host-1 3');
  });

  test('is gone when its host is killed, and at the next start when the shell around ip was killed too', async () => {
    const first = await startGuest(hostA);
    await first.tell('announce');
    await waitFor(() => hasAddress(hostA), 'the address on host-1');
    first.process.kill('SIGKILL');
    await waitFor(async () => !(await hasAddress(hostA)), 'the end of the address of a killed host');

    const second = await startGuest(hostA);
    await second.tell('announce');
    await waitFor(() => hasAddress(hostA), 'the address on host-1');
    const shells = descendants(second.process.pid).filter(({ command }) =>
      command.includes('godwit-address'),
    );
    expect(shells).toHaveLength(1);
    for (const { pid } of shells) process.kill(pid, 'SIGKILL');
    second.process.kill('SIGKILL');
    await second.process.end();
    expect(await hasAddress(hostA)).toBe(true);
    await restartHostA();
    expect(await hasAddress(hostA)).toBe(false);

    // One that a guest has is no leftover.
    const third = await startGuest(hostA);
    await third.tell('announce');
    await waitFor(() => hasAddress(hostA), 'the address on host-1');
    await restartHostA();
    expect(await hasAddress(hostA)).toBe(true);
  });

  test('is refused with what is missing, and touches no network but its own', async () => {
    const before = JSON.stringify(networkInterfaces());
    const refusal = async (place: Place, device: string): Promise<string> => {
      const { process: guest } = new Program(place, 'echo-guest.ts', place.name, ADDRESS, PORT, device);
      expect((await guest.end()).code, guest.describe()).toBe(1);
      return guest.stderr;
    };
    // The namespace of clients has not got the settings that a host needs.
    expect(await refusal(client, DEVICE)).toContain(
      'has to be 1: net.ipv4.ip_nonlocal_bind, net.ipv4.conf.all.arp_notify',
    );
    expect(await refusal(hostA, 'none')).toContain('the device none is not up');
    await (await startGuest(hostA)).tell('announce');
    await waitFor(() => hasAddress(hostA), 'the address on host-1');
    expect(await refusal(hostA, DEVICE)).toContain('cannot answer on 10.0.2.1:7000: bind EADDRINUSE');
    expect(await hasAddress(hostA)).toBe(true);
    expect(JSON.stringify(networkInterfaces())).toBe(before);
  });
});

describe.skipIf(skipped)(`guests with addresses of their own${about}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-address-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('answer clients outside before and after they move in an experiment', async () => {
    const spec = join(folder, 'spec.yaml');
    const out = join(folder, 'out');
    writeFileSync(
      spec,
      `
warm-up: 300ms
fabric: {kind: netns, hosts: 2}
guest: {memory: 4MiB, workload: {kind: kv}}
migration: {technique: [stop-and-copy, pre-copy]}
clients: {protocol: [udp, tcp], rate: 100 requests/s}
`,
    );
    const experiment = await godwit(['run', spec, '--out', out]);
    expect(experiment.status, experiment.describe()).toEqual({ code: 0, signal: null });
    const { trials } = resultRecordSchema.parse(JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')));
    expect(trials.map(({ status, audit }) => [status, audit?.fault_count])).toEqual([
      ['completed', 0],
      ['completed', 0],
    ]);
    const clients = trials.flatMap((trial) => trial.clients ?? []);
    expect(clients.map(({ protocol }) => protocol).sort()).toEqual(['tcp', 'tcp', 'udp', 'udp']);
    for (const { address, protocol, reconnects, wrong, latency_ms } of clients) {
      expect([address, wrong]).toEqual(['10.0.2.1:7000', 0]);
      // The connection is the old host's, and another one reaches the new host.
      expect(reconnects > 0).toBe(protocol === 'tcp');
      expect(latency_ms.before.count).toBeGreaterThan(0);
      expect(latency_ms.after.count).toBeGreaterThan(0);
    }
    await waitForNoProcess();
  });

  test('leave nothing behind when everything is killed and cleaned up', async () => {
    const up = startGodwit(['up', '--fabric', 'netns', '--hosts', '1']);
    const [, coordinator = '', name = ''] = await up.prints(/(unix:\/run\/(godwit-[^.]+)\.sock)/);
    const where = ['--address', ADDRESS, '--coordinator', coordinator];
    const created = await godwit(['create', 'web', '--memory', '4MiB', '--workload', 'kv', ...where]);
    expect(created.status, created.describe()).toEqual({ code: 0, signal: null });
    await waitFor(
      () => hasAddress({ name: 'host-1', namespace: `${name}-host-1` }),
      "the guest's address on its host",
    );
    // Without the keeper, nobody takes the namespaces away.
    const keepers = descendants(up.pid).filter(({ command }) => command.includes('godwit-keeper'));
    for (const { pid } of keepers) process.kill(pid, 'SIGKILL');
    up.kill('SIGKILL');
    await up.end();
    const clean = await godwit(['clean']);
    expect(clean.status, clean.describe()).toEqual({ code: 0, signal: null });
    expect(readdirSync('/run/netns').filter((each) => each.startsWith(name))).toEqual([]);
    await waitForNoProcess();
  });
});
