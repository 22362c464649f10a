/** Experiments with post-copy and hybrid, as users run them: what the record says must fit together. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { resultRecordSchema, type TrialRecord } from '../../records/result-record.ts';
import { endAllProcesses, godwit, waitForNoProcess } from '../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-post-copy-'));

afterAll(async () => {
  await endAllProcesses();
  rmSync(folder, { recursive: true });
});

/** Runs a guest of 8 MiB that writes all over its memory. */
async function run(name: string, migration: string, vcpus: number): Promise<TrialRecord[]> {
  const spec = join(folder, `${name}.yaml`);
  const guest = `{memory: 8MiB, vcpus: ${vcpus}, content: {zero: 0.25}, workload: {kind: uniform, rate: 2000 pages/s}}`;
  writeFileSync(spec, `guest: ${guest}\nmigration: {${migration}}\nwarm-up: 100ms\nsettle: 100ms\n`);
  const moved = await godwit(['run', spec, '--out', join(folder, name), '--json']);
  expect(moved.status, moved.describe()).toEqual({ code: 0, signal: null });
  await waitForNoProcess();
  return resultRecordSchema.parse(JSON.parse(moved.stdout)).trials;
}

/** Each missing page was sent once and came once, and what was waited for is there to be read. */
function expectWhole({
  audit,
  status,
  postcopy,
  total_time_ms,
  transferred_bytes,
  ...trial
}: TrialRecord): void {
  expect([status, audit?.fault_count]).toEqual(['completed', 0]);
  expect(postcopy!.pushed_pages + postcopy!.demanded_pages).toBe(postcopy!.missing_pages);
  expect(postcopy!.placed_pages).toBe(postcopy!.missing_pages);
  expect(postcopy!.requests).toBe(postcopy!.demanded_pages + postcopy!.prefetch_hits);
  expect(total_time_ms).toBeGreaterThanOrEqual(postcopy!.resumed_at_ms + postcopy!.resume_time_ms!);
  expect(trial.precopy_bytes! + trial.downtime_bytes! + trial.postcopy_bytes!).toBe(transferred_bytes);
}

test('post-copy sends every page once, bubbling on four vCPUs, and a hybrid only what was written', async () => {
  const keys = 'channels: 4, push: bubbling, pivots: 3, max-postcopy-bandwidth: 8MiB/s, accessed-first: true';
  const [postCopy, hybrid] = await run('both', `technique: [post-copy, hybrid], ${keys}`, 4);
  for (const trial of [postCopy!, hybrid!]) {
    expectWhole(trial);
    expect(trial.postcopy!.vcpu_blocktime_ms).toHaveLength(4);
  }
  expect(postCopy!.convergence).toBeNull();
  expect(postCopy!.postcopy!.missing_pages).toBe(2048);
  // Held back to 8 MiB/s, the push leaves a guest that writes all over its memory time to fault.
  expect(postCopy!.postcopy!.faults).toBeGreaterThan(0);
  expect(postCopy!.postcopy!.fault_latency!.max_ms).toBeGreaterThan(0);
  expect(hybrid).toMatchObject({ convergence: 'switch-after-rounds' });
  expect(hybrid!.postcopy!.missing_pages).toBeLessThan(2048);
});

test('demand paging alone pushes nothing until its time is up', async () => {
  const [trial] = await run('alone', 'technique: post-copy, push: none, total-time-limit: 2s', 1);
  expectWhole(trial!);
  expect(trial!.postcopy!.demanded_pages).toBeGreaterThan(0);
  expect(trial!.total_time_ms).toBeGreaterThanOrEqual(2000);
});
