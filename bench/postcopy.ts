/**
 * Post-copy and hybrid: how short the pause is, against QEMU's post-copy, how long a vCPU waits for a page that has not
 * come, and what the push, its order and the connection for demanded pages are good for. Every figure is from the
 * record of a run as users do it.
 */

import type { TrialRecord } from '../records/result-record.ts';
import type { Move } from './move.ts';
import { qemuMove } from './peers/qemu.ts';
import { inRounds, measured } from './rounds.ts';
import { type Outcome, type Row, row } from './row.ts';
import { runSpec } from './run-spec.ts';

const ROUNDS = 5;
const BYTES_PER_MIB = 1024 ** 2;
/** Of the guest whose downtime is measured. */
const MEMORY_MIB = 1024;
/** QEMU's default; it has no use for it here. */
const DOWNTIME_LIMIT_MS = 300;
const FIRST_SECOND_MS = 1000;
/** QEMU sends in the clear. */
const AS_PEERS = '[zero, encryption: none]';

interface PostcopyMove {
  readonly memory: string;
  readonly workload: string;
  /** Keys of `migration`, the technique's among them. */
  readonly migration: string;
  readonly link?: string;
}

/** One trial; a guest that did not come whole is an error. */
async function trial({ memory, workload, migration, link }: PostcopyMove): Promise<TrialRecord> {
  const { trials } = await runSpec(`
name: postcopy
guest:
  memory: ${memory}
  workload: ${workload}
migration: {${migration}, transforms: ${AS_PEERS}}
${link === undefined ? '' : `link: {rate: ${link}}`}
settle: 1s
`);
  return trials[0]!;
}

type Postcopy = NonNullable<TrialRecord['postcopy']>;

function of(outcome: Outcome<TrialRecord>, pick: (postcopy: Postcopy) => number): Outcome<number> {
  return measured(outcome, ({ postcopy }) => pick(postcopy!));
}

/** Pages that did not cross the wire exactly once, told by what both sides counted. */
function onceRow(work: string, outcome: Outcome<TrialRecord>): Row {
  const notOnce = of(outcome, ({ missing_pages, pushed_pages, demanded_pages, placed_pages }) => {
    return Math.abs(pushed_pages + demanded_pages - missing_pages) + Math.abs(placed_pages - missing_pages);
  });
  const about = { work, measure: 'pages not sent exactly once', unit: 'pages' };
  return row(about, notOnce, { target: { at_most: 0 } });
}

/** Operations per second in the first second at the destination. */
function firstSecond({ operations, postcopy }: TrialRecord): number {
  const from = postcopy!.resumed_at_ms;
  const inIt = operations!.filter(({ at_ms }) => at_ms >= from && at_ms < from + FIRST_SECOND_MS);
  return inIt.reduce((sum, { operations_per_s }) => sum + operations_per_s, 0) / inIt.length;
}

async function downtimeRows(): Promise<Row[]> {
  const workload = '{kind: idle}';
  const guest = { memoryBytes: MEMORY_MIB * BYTES_PER_MIB, workingSetBytes: 0, pagesPerS: 0 };
  const found = await inRounds(ROUNDS, {
    godwit: () => trial({ memory: `${MEMORY_MIB}MiB`, workload, migration: 'technique: post-copy' }),
    'QEMU post-copy': () =>
      qemuMove({ guest, technique: { kind: 'post-copy' }, downtimeLimitMs: DOWNTIME_LIMIT_MS }),
  });
  const about = { work: `${MEMORY_MIB} MiB, idle, post-copy`, measure: 'downtime', unit: 'ms' };
  const ours = measured(found.godwit, ({ downtime_ms }) => downtime_ms!);
  const peer = measured(found['QEMU post-copy'], ({ downtimeMs }: Move) => downtimeMs);
  // By itself as well, for machines without QEMU.
  return [row(about, ours, { peer, target: { at_most: 1 } }), row(about, ours)];
}

async function latencyRows(): Promise<Row[]> {
  const move = { memory: '512MiB', workload: '{kind: uniform, rate: 20000 pages/s}' };
  const without = 'without a connection for demanded pages';
  const found = await inRounds(ROUNDS, {
    godwit: () => trial({ ...move, migration: 'technique: post-copy' }),
    [without]: () => trial({ ...move, migration: 'technique: post-copy, postcopy-preempt: false' }),
  });
  const work = '512 MiB, uniform at 20,000 pages/s, push unlimited';
  const latency = (measure: 'p50' | 'p99', targetMs: number): Row[] => {
    const pick = ({ fault_latency }: Postcopy): number => fault_latency![`${measure}_ms`];
    const about = { work, measure: `fault latency ${measure}`, unit: 'ms' };
    const own = of(found.godwit, pick);
    return [
      row(about, own, { target: { at_most: targetMs } }),
      row(about, own, { peer: of(found[without], pick) }),
    ];
  };
  return [...latency('p50', 0.2), ...latency('p99', 3), onceRow(work, found.godwit)];
}

async function pushRows(): Promise<Row[]> {
  const workload = '{kind: hot-cold, rate: unlimited, working-set: 64MiB, hot: 0.9}';
  const move = { memory: '512MiB', workload, link: '1gbit' };
  const found = await inRounds(ROUNDS, {
    bubbling: () => trial({ ...move, migration: 'technique: post-copy, push: bubbling' }),
    // Long enough to touch what the guest touches; then the rest is pushed, so that the trial ends.
    'demand paging alone': () =>
      trial({ ...move, migration: 'technique: post-copy, push: none, total-time-limit: 10s' }),
  });
  const work = '512 MiB, hot-cold, 1 Gbit/s, bubbling';
  const { bubbling, 'demand paging alone': alone } = found;
  const faults = ({ demanded_pages }: Postcopy): number => demanded_pages;
  return [
    // Hines and Gopalan's figure.
    row({ work, measure: 'network faults', unit: 'faults' }, of(bubbling, faults), {
      peer: of(alone, faults),
      target: { at_most: 0.21 },
    }),
    row(
      { work, measure: 'operations in the first second', unit: 'operations/s' },
      measured(bubbling, firstSecond),
      { peer: measured(alone, firstSecond), target: { at_least: 1.5 } },
    ),
    onceRow(work, bubbling),
  ];
}

async function hybridRows(): Promise<Row[]> {
  const workload = '{kind: hot-cold, rate: 20000 pages/s, working-set: 32MiB, hot: 0.9}';
  const move = { memory: '256MiB', workload, migration: 'technique: hybrid', link: '1gbit' };
  const { godwit } = await inRounds(ROUNDS, { godwit: () => trial(move) });
  const work = '256 MiB, hot-cold at 20,000 pages/s, 1 Gbit/s, hybrid';
  const again = of(godwit, ({ placed_pages, missing_pages }) => placed_pages - missing_pages);
  return [row({ work, measure: 'pages fetched again', unit: 'pages' }, again, { target: { at_most: 0 } })];
}

export async function postcopy(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const part of [downtimeRows, latencyRows, pushRows, hybridRows]) rows.push(...(await part()));
  return rows;
}
