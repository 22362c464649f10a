/**
 * Goal: `godwit run` shows what clients outside notice of a move, and through the forwarder they lose nothing: no
 * request, no connection, no write. Method: the command with a small spec, over UDP and TCP at once.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { resultRecordSchema } from '../../records/result-record.ts';
import { endAllProcesses, godwit, startGodwit, waitForNoProcess } from '../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-clients-'));

afterAll(async () => {
  await endAllProcesses();
  rmSync(folder, { recursive: true });
});

test('clients of both protocols are served through both techniques, and nothing is lost', async () => {
  const file = join(folder, 'clients.yaml');
  // The timeout is for machines that stand still for long.
  writeFileSync(
    file,
    `
warm-up: 300ms
guest: {memory: 4MiB, workload: {kind: web, working-set: 1MiB, response-size: 200B}}
migration: {technique: [stop-and-copy, pre-copy]}
clients: {protocol: [udp, tcp], rate: 50 requests/s, read: 0.5, keys: 30, timeout: 200s}
`,
  );
  const child = await godwit(['run', file, '--out', folder]);
  expect(child.status, child.describe()).toEqual({ code: 0, signal: null });
  const { trials } = resultRecordSchema.parse(JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')));
  expect(trials.map(({ technique }) => technique)).toEqual(['stop-and-copy', 'pre-copy']);
  for (const { status, audit, clients, downtime_ms: downtimeMs } of trials) {
    expect(status).toBe('completed');
    expect(audit?.fault_count).toBe(0);
    expect(clients?.map(({ protocol }) => protocol).sort()).toEqual(['tcp', 'udp']);
    for (const client of clients!) {
      expect(client).toMatchObject({ via: 'forwarder', lost: 0, late: 0, wrong: 0, reconnects: 0 });
      expect(client.answered).toBe(client.sent);
      const { before, during, after } = client.latency_ms;
      expect(before.count + during.count + after.count).toBe(client.sent);
      // A migration may be so short that no request is due in it.
      for (const { count } of [before, after]) expect(count).toBeGreaterThan(0);
      expect(client.gap_minus_downtime_ms).toBe(client.gap_ms! - downtimeMs!);
      expect(client.gap_at_ms).toBeGreaterThan(-1000);
    }
  }
  expect(child.stdout).toMatch(/^TECHNIQUE .* DOWNTIME +CLIENT GAP /m);
  expect(child.stdout).toMatch(/^pre-copy, tcp .* 0 +0 +0$/m);
  await waitForNoProcess();
});

test('a guest is reached by hand through a forwarder, and moves while it is asked', async () => {
  const testbed = startGodwit(['up', '--listen', '127.0.0.1:0', '--memory', '64MiB', '--json']);
  const coordinator = (await testbed.prints(/"coordinator":"([^"]+)"/))[1]!;
  const forwarder = startGodwit(['forward', 'web', '--json']);
  const [, address, token, door] = await forwarder.prints(
    /"forwarder":"([^"]+)","token":"([^"]+)","guests":\{"web":"([^"]+)"\}/,
  );
  const command = async (...args: string[]): Promise<string> => {
    const child = await godwit(args);
    expect(child.status, child.describe()).toEqual({ code: 0, signal: null });
    return child.stdout;
  };
  const there = ['--coordinator', coordinator];
  const network = ['--forwarder', address!, '--token', token!];
  await command(
    'create',
    'web',
    '--memory',
    '4MiB',
    '--workload',
    'kv',
    '--host',
    'host-1',
    ...network,
    ...there,
  );
  await forwarder.prints(/"guest":"web","host":"[^"]+","epoch":1\}/);
  const load = startGodwit([
    'load',
    door!,
    '--protocol',
    'tcp',
    '--rate',
    '50',
    '--duration',
    '1h',
    '--timeout',
    '200s',
    '--json',
  ]);
  await command('migrate', 'web', '--to', 'host-2', ...there);
  await forwarder.prints(/"guest":"web","host":"[^"]+","epoch":2\}/);
  // Ctrl-C ends a load early, and it tells what it saw.
  load.kill('SIGINT');
  expect((await load.end()).code, load.describe()).toBe(130);
  expect(JSON.parse(load.stdout)).toMatchObject({ lost: 0, wrong: 0, reconnects: 0 });
  const refused = await godwit(['create', 'idle', '--forwarder', address!, ...there]);
  expect(refused.status?.code, refused.describe()).toBe(2);
  expect(refused.stderr).toContain('answers nobody; allowed are kv and web');
  forwarder.kill('SIGTERM');
  await forwarder.end();
  expect(forwarder.stdout).toMatch(/"counts":\{"web":\{"asked":\d+,"answered":\d+,"dropped":0,/);
  testbed.kill('SIGTERM');
  await testbed.end();
  await waitForNoProcess();
});
