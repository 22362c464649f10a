/**
 * Shaped links as users have them: an experiment's spec and its record, and the commands `link` and `probe`.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type ResultRecord, resultRecordSchema } from '../../records/result-record.ts';
import { endAllProcesses, godwit, startGodwit, waitForNoProcess } from '../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-links-'));

afterAll(async () => {
  await endAllProcesses();
  rmSync(folder, { recursive: true });
});

async function run(name: string, spec: string): Promise<{ record: ResultRecord; printed: string }> {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, spec);
  const child = await godwit(['run', file, '--out', join(folder, name)]);
  expect(child.status, child.describe()).toEqual({ code: 0, signal: null });
  const text = readFileSync(join(folder, name, 'results.json'), 'utf8');
  return { record: resultRecordSchema.parse(JSON.parse(text)), printed: child.stdout };
}

test('guests that leave at once over a shaped link arrive whole, and the record says what the link was', async () => {
  // Without the schedule's last word the 6 MiB would take 3 s: it comes in mid-flight.
  const { record, printed } = await run(
    'crowd',
    `
warm-up: 100ms
settle: 100ms
guest: {count: 3, memory: 2MiB, workload: {kind: uniform, rate: 200 pages/s, working-set: 64KiB}}
migration: {technique: stop-and-copy, all-at-once: true}
sites: {a: {hosts: [host-1]}, b: {hosts: [host-2]}}
site-links: [{from: a, to: b, link: {rate: 16mbit, delay: 3ms}}]
link: {rate: 800mbit}
schedule:
  - {at: 100ms, from: host-1, to: host-2, delay: 5ms}
  - {at: 600ms, from: host-1, to: host-2, rate: 400mbit}
faults: [{at: 200ms, host: host-1, do: stall, for: 300ms}]
`,
  );
  expect(record.trials.map(({ guest, status }) => `${guest} ${status}`)).toEqual([
    'guest-1 completed',
    'guest-2 completed',
    'guest-3 completed',
  ]);
  for (const { audit, network, source, destination, transferred_bytes: bytes } of record.trials) {
    expect(audit).toMatchObject({ pages_checked: 512, fault_count: 0 });
    expect([source, destination]).toEqual(['host-1', 'host-2']);
    expect(bytes).toBeGreaterThan(2 * 1024 * 1024);
    expect(network?.links).toMatchObject([
      { from: 'host-1', to: 'host-2', asked_rate_bytes_per_s: 2_000_000, asked_round_trip_ms: 3 },
    ]);
    const [link] = network!.links;
    expect(link!.measured_rate_bytes_per_s).toBeGreaterThan(0);
    // What is asked for is never undercut: no answer comes before the delay.
    expect(link!.measured_round_trip_ms).toBeGreaterThanOrEqual(2);
    expect(network?.changes.map(({ host, what, at_ms }) => ({ host, what, at_ms }))).toEqual([
      { host: 'host-1', what: 'egress to host-2 delay 5ms', at_ms: 100 },
      { host: 'host-1', what: 'stall for 300ms', at_ms: 200 },
      { host: 'host-1', what: 'egress to host-2 rate 50MB/s', at_ms: 600 },
    ]);
    for (const { at_ms, applied_at_ms } of network!.changes) {
      expect(applied_at_ms).toBeGreaterThanOrEqual(at_ms);
    }
  }
  expect(printed).toMatch(/^stop-and-copy +3 \(3 guests\) .* clean$/m);
  expect(printed).toMatch(/^host-1 to host-2 +16\.0 Mbit\/s /m);
  await waitForNoProcess();
});

test('a link is shaped, probed, broken and freed from the command line', async () => {
  const testbed = startGodwit(['up', '--listen', '127.0.0.1:0', '--memory', '64MiB', '--json']);
  const coordinator = (await testbed.prints(/"coordinator":"([^"]+)"/))[1]!;
  const command = async (...args: string[]): Promise<string> => {
    const child = await godwit([...args, '--coordinator', coordinator]);
    expect(child.status, child.describe()).toEqual({ code: 0, signal: null });
    return child.stdout;
  };
  expect(await command('link', 'host-1')).toContain('host-1 has no shape');
  await command('link', 'host-1', '--rate', '80mbit');
  const shaped = await command('link', 'host-1', '--to', 'host-2', '--delay', '3ms');
  expect(shaped).toMatch(/^egress +80\.0 Mbit\/s +0\.00 ms/m);
  expect(shaped).toMatch(/^egress to host-2 +unlimited +3\.00 ms/m);
  const comparison: unknown = JSON.parse(await command('probe', 'host-1', 'host-2', '--json'));
  expect(comparison).toMatchObject({
    source: 'host-1',
    destination: 'host-2',
    asked_rate_bytes_per_s: 10_000_000,
    asked_round_trip_ms: 3,
  });
  expect(await command('probe', 'host-2', 'host-1')).toMatch(/^rate +80\.0 Mbit\/s/m);
  expect(await command('link', 'host-1', '--half-open', 'ingress')).toContain('fault: half-open');
  expect(await command('link', 'host-1', '--heal')).not.toContain('fault:');
  expect(await command('link', 'host-1', '--unshape')).toContain('has no shape');
  const both = await godwit(['link', 'host-1', '--cut', '--rate', '1gbit', '--coordinator', coordinator]);
  expect(both.status?.code, both.describe()).toBe(2);
  testbed.kill('SIGTERM');
  await testbed.end();
  await waitForNoProcess();
});
