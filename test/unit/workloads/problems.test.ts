/** That a workload's spec is refused for what is wrong with it, with the value and what is allowed. */

import { expect, it } from 'vitest';
import { RateUnit, type WorkloadSpec } from '../../../proto/generated/godwit/v1/guest.ts';
import { WORKLOADS, type WorkloadKind } from '../../../proto/names.ts';
import { workloadProblems } from '../../../workloads/registry.ts';
import { PAGE_COUNT, SAMPLE_SPECS, specOf, traceBytes } from './support.ts';

const phase = { kind: 'zipf', durationMs: 10, rateFactor: 1, workingSetBytes: 0n, hot: 0, theta: 0.5 };
const entries = (count: number) => Buffer.alloc(count * 8);

it.each<[WorkloadKind, Partial<WorkloadSpec>, string]>([
  ['uniform', { rate: -1 }, 'workload rate is -1; allowed is 0 to 10000000'],
  ['uniform', { rate: Number.NaN }, 'workload rate is NaN; allowed is 0 to 10000000'],
  ['uniform', { workingSetBytes: 4095n }, 'working-set is 4095 bytes; allowed is 0 (all memory), or 4096'],
  ['zipf', { workingSetBytes: 1n << 40n }, 'to 4194304 (the guest'],
  ['hot-cold', { hot: 1.5 }, 'workload hot is 1.5; allowed is 0 to 1'],
  ['zipf', { theta: 1 }, 'workload theta is 1; allowed is 0 to 0.999'],
  ['kv', { read: 0.8, scan: 0.3 }, 'read 0.8 and scan 0.3 are more than all operations'],
  ['kv', { scanLength: 257 }, 'workload scan-length is 257; allowed is 1 to 256'],
  ['kv', { read: 1, scan: 0, rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S }, 'give it in ops/s'],
  ['uniform', { rateUnit: RateUnit.RATE_UNIT_REQUESTS_ONLY }, 'for requests only, and uniform answers none'],
  ['web', { pagesPerRequest: 257 }, 'workload pages-per-request is 257; allowed is 1 to 256'],
  ['web', { responseBytes: 1453 }, 'workload response-bytes is 1453; allowed is 0 to 1452'],
  ['phased', { rate: 0 }, 'workload rate is 0 (unlimited), but the phases of phased are multiples'],
  ['phased', { rate: 6_000_000 }, "times the fastest phase's rate-factor is 12000000"],
  [
    'phased',
    { phases: Array.from({ length: 65 }, () => phase) },
    'workload phases are 65; allowed is at most 64',
  ],
  [
    'phased',
    { phases: [{ ...phase, kind: 'kv' }] },
    'workload phase 1 kind is "kv"; allowed is idle, uniform',
  ],
  ['phased', { phases: [phase, { ...phase, durationMs: 0.5 }] }, 'workload phase 2 duration is 0.5 ms'],
  ['phased', { phases: [{ ...phase, theta: -1 }] }, 'workload phase 1 theta is -1; allowed is 0 to 0.999'],
  ['phased', { phases: [{ ...phase, workingSetBytes: 1n }] }, 'workload phase 1 working-set is 1 bytes'],
  ['trace', { trace: entries(0) }, 'workload trace is 0 bytes; allowed is 1 to 1000000 entries of 8 bytes'],
  ['trace', { trace: Buffer.alloc(12) }, 'workload trace is 12 bytes'],
  ['trace', { trace: entries(1_000_001) }, 'workload trace is 8000008 bytes'],
  ['trace', { trace: traceBytes([[0, PAGE_COUNT]]) }, 'entry 1 writes page 1024; allowed is 0 to 1023'],
  // biome-ignore format: one line reads as a table
  ['trace', { trace: traceBytes([[5, 0], [4, 0]]) }, 'entry 2 is at 4 us, after one at 5 us; allowed'],
])('%s with %o has a problem', (kind, fields, sentence) => {
  const problems = workloadProblems({ ...SAMPLE_SPECS[kind], phases: [], ...fields }, PAGE_COUNT);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(sentence);
});

it('lists all problems, not only the first', () => {
  expect(
    workloadProblems(specOf('kv', { rate: -1, theta: 2, read: 3, scanLength: 0 }), PAGE_COUNT),
  ).toHaveLength(5);
});

it('names the kinds that there are', () => {
  const problems = workloadProblems({ ...specOf('idle'), kind: 'kvv' }, PAGE_COUNT);
  expect(problems).toEqual([`workload kind is "kvv"; allowed is ${WORKLOADS.join(', ')}`]);
});

it.each(WORKLOADS.filter((kind) => kind !== 'trace'))('%s has defaults without problems', (kind) => {
  expect(workloadProblems(specOf(kind), PAGE_COUNT)).toEqual([]);
});
