/**
 * Goal: a spec's traffic is on the link before, during and after a migration, and the record sets what the source
 * believed of the link beside what the link was. Method: `godwit run` with real processes.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { resultRecordSchema, type TrialRecord } from '../../records/result-record.ts';
import { endAllProcesses, godwit } from '../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-traffic-'));

afterAll(async () => {
  await endAllProcesses();
  rmSync(folder, { recursive: true });
});

const MBIT = 125_000;

/** The one trial of a small guest that moves over these links. */
async function trialOf(name: string, migration: string, links: string): Promise<TrialRecord> {
  const file = join(folder, `${name}.yaml`);
  const guest = '{memory: 4MiB, content: {zero: 0.25}, workload: {kind: uniform, rate: 20 pages/s}}';
  writeFileSync(
    file,
    `warm-up: 300ms\nsettle: 300ms\nguest: ${guest}\nmigration: {technique: pre-copy, ${migration}}\n${links}`,
  );
  const run = await godwit(['run', file, '--out', join(folder, name), '--json']);
  const [trial] = resultRecordSchema.parse(JSON.parse(run.stdout)).trials;
  expect(trial).toMatchObject({ status: 'completed', reason: null });
  return trial!;
}

describe('godwit run', () => {
  test('has other traffic on the link, which the migration yields to, and tells what became of it', async () => {
    const links = 'link: {rate: 40mbit, discipline: fifo}\nbackground: {rate: 8mbit}\n';
    const { background, estimates } = await trialOf('traffic', 'max-bandwidth: adaptive', links);
    expect(background).toMatchObject({ from: 'host-1', to: 'host-2', offered_bytes_per_s: 8 * MBIT });
    const { before_bytes_per_s, during_bytes_per_s, after_bytes_per_s } = background!;
    for (const rate of [before_bytes_per_s, during_bytes_per_s, after_bytes_per_s]) {
      expect(rate).toBeGreaterThan(0);
    }
    expect(background!.migration_share_percent).toBeGreaterThan(0);
    // What is left for it is for nobody to say.
    expect(estimates!.series.every((one) => one.true_bandwidth_bytes_per_s === null)).toBe(true);
  });

  test('scores the estimates of the link against its shape, which changes on the way', async () => {
    const links = 'link: {rate: 12mbit}\nschedule: [{at: 1200ms, rate: 6mbit}]\n';
    const { estimates } = await trialOf('step', 'transforms: [zero]', links);
    const truths = new Set(estimates!.series.map((one) => one.true_bandwidth_bytes_per_s));
    expect([...truths]).toEqual([12 * MBIT, 6 * MBIT]);
    expect(estimates!.steps).toMatchObject([{ bandwidth_bytes_per_s: 6 * MBIT }]);
    expect(estimates!.samples).toBeGreaterThan(0);
    expect(estimates!.bandwidth_error_median_percent).not.toBeNull();
  });
});
