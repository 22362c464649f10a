/**
 * Post-copy and hybrid: how short the pause is, how long a vCPU waits for a page that has not come, and what
 * the push, its order and the connection for demanded pages are good for. Every figure is from the record of a
 * run as users do it.
 */

import type { TrialRecord } from '../records/result-record.ts';
import { type Row, rowAtMost } from './row.ts';
import { runSpec } from './run-spec.ts';

const TRIALS = 5;
/** What QEMU 7.2 reports for its post-copy of an idle guest of 1 GiB over loopback. */
const DOWNTIME_TARGET_MS = 2;
const FAULT_P50_TARGET_MS = 0.2;
const FAULT_P99_TARGET_MS = 3;
/** Hines and Gopalan: pre-paging leaves so many of the network faults that demand paging alone has. */
const NETWORK_FAULTS_TARGET_PERCENT = 21;
/** At least 1.5 times the operations of demand paging alone. */
const OPERATIONS_TARGET_SHARE = 1 / 1.5;
const FIRST_SECOND_MS = 1000;

interface Move {
  readonly memory: string;
  readonly workload: string;
  /** Keys of `migration`, the technique's among them. */
  readonly migration: string;
  readonly link?: string;
}

/** The trials of one kind of move; a guest that did not come whole is no measurement. */
async function trials({ memory, workload, migration, link }: Move): Promise<TrialRecord[]> {
  const { trials: records } = await runSpec(`
name: postcopy
trials: ${TRIALS}
guest:
  memory: ${memory}
  workload: ${workload}
migration: {${migration}}
${link === undefined ? '' : `link: {rate: ${link}}`}
settle: 1s
`);
  for (const { trial, status, reason, audit } of records) {
    if (status !== 'completed' || audit?.fault_count !== 0) {
      throw new Error(
        `trial ${trial} of {${migration}} is no measurement: ${status}: ${reason ?? 'its audit'}`,
      );
    }
  }
  return records;
}

type Postcopy = NonNullable<TrialRecord['postcopy']>;

function of(records: readonly TrialRecord[], pick: (postcopy: Postcopy) => number): number[] {
  return records.map(({ postcopy }) => pick(postcopy!));
}

/** Pages that did not cross the wire exactly once, told by what both sides counted. */
function notOnce(records: readonly TrialRecord[]): number[] {
  return of(records, ({ missing_pages, pushed_pages, demanded_pages, placed_pages }) => {
    return Math.abs(pushed_pages + demanded_pages - missing_pages) + Math.abs(placed_pages - missing_pages);
  });
}

/** Operations in the first second at the destination. */
function firstSecond({ operations, postcopy }: TrialRecord): number {
  const from = postcopy!.resumed_at_ms;
  const inIt = operations!.filter(({ at_ms }) => at_ms >= from && at_ms < from + FIRST_SECOND_MS);
  return inIt.reduce((sum, { operations_per_s }) => sum + operations_per_s, 0) / inIt.length;
}

/** Trial by trial, the one over the other. */
function shares(values: readonly number[], others: readonly number[]): number[] {
  return values.map((value, index) => value / others[index]!);
}

async function downtimeRows(): Promise<Row[]> {
  const records = await trials({
    memory: '1GiB',
    workload: '{kind: idle}',
    migration: 'technique: post-copy',
  });
  const about = { work: '1 GiB, idle, post-copy', measure: 'downtime', unit: 'ms' };
  const values = records.map(({ downtime_ms }) => downtime_ms!);
  return [rowAtMost(about, values, DOWNTIME_TARGET_MS)];
}

async function latencyRows(): Promise<Row[]> {
  const move = { memory: '512MiB', workload: '{kind: uniform, rate: 20000 pages/s}' };
  const own = await trials({ ...move, migration: 'technique: post-copy' });
  const shared = await trials({ ...move, migration: 'technique: post-copy, postcopy-preempt: false' });
  const work = '512 MiB, uniform at 20,000 pages/s, push unlimited';
  const p99 = (records: readonly TrialRecord[]) => of(records, ({ fault_latency }) => fault_latency!.p99_ms);
  const p50 = (records: readonly TrialRecord[]) => of(records, ({ fault_latency }) => fault_latency!.p50_ms);
  const about = { work, unit: 'ms' };
  const against = { work, unit: 'of what it is without a connection for demanded pages' };
  return [
    rowAtMost({ ...about, measure: 'fault latency p50' }, p50(own), FAULT_P50_TARGET_MS),
    rowAtMost({ ...about, measure: 'fault latency p99' }, p99(own), FAULT_P99_TARGET_MS),
    rowAtMost({ ...against, measure: 'fault latency p50' }, shares(p50(own), p50(shared)), 1),
    rowAtMost({ ...against, measure: 'fault latency p99' }, shares(p99(own), p99(shared)), 1),
    rowAtMost({ work, measure: 'pages not sent exactly once', unit: 'pages' }, notOnce(own), 0),
  ];
}

async function pushRows(): Promise<Row[]> {
  const workload = '{kind: hot-cold, rate: unlimited, working-set: 64MiB, hot: 0.9}';
  const move = { memory: '512MiB', workload, link: '1gbit' };
  const pushed = await trials({ ...move, migration: 'technique: post-copy, push: bubbling' });
  // Long enough to touch what the guest touches; then the rest is pushed, so that the trial ends.
  const demanded = await trials({
    ...move,
    migration: 'technique: post-copy, push: none, total-time-limit: 10s',
  });
  const work = '512 MiB, hot-cold, 1 Gbit/s, bubbling against demand paging alone';
  const faults = (records: readonly TrialRecord[]) => of(records, ({ demanded_pages }) => demanded_pages);
  const percent = shares(faults(pushed), faults(demanded)).map((share) => share * 100);
  const operations = shares(demanded.map(firstSecond), pushed.map(firstSecond));
  return [
    rowAtMost({ work, measure: 'network faults', unit: '%' }, percent, NETWORK_FAULTS_TARGET_PERCENT),
    rowAtMost(
      { work, measure: 'operations of demand paging in the first second', unit: 'of bubbling' },
      operations,
      OPERATIONS_TARGET_SHARE,
    ),
    rowAtMost({ work, measure: 'pages not sent exactly once', unit: 'pages' }, notOnce(pushed), 0),
  ];
}

async function hybridRows(): Promise<Row[]> {
  const workload = '{kind: hot-cold, rate: 20000 pages/s, working-set: 32MiB, hot: 0.9}';
  const records = await trials({ memory: '256MiB', workload, migration: 'technique: hybrid', link: '1gbit' });
  const work = '256 MiB, hot-cold at 20,000 pages/s, 1 Gbit/s, hybrid';
  const again = of(records, ({ placed_pages, missing_pages }) => placed_pages - missing_pages);
  return [rowAtMost({ work, measure: 'pages fetched again', unit: 'pages' }, again, 0)];
}

export async function postcopy(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const part of [downtimeRows, latencyRows, pushRows, hybridRows]) rows.push(...(await part()));
  return rows;
}
