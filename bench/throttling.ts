/**
 * A guest that writes twice as fast as the link carries: whether it converges with each rule that slows it, and
 * what work that costs it. Every figure is from the record of a run as users do it.
 */

import type { TrialRecord } from '../records/result-record.ts';
import { inRounds, measured } from './rounds.ts';
import { type Outcome, type Row, row } from './row.ts';
import { runSpec } from './run-spec.ts';

const ROUNDS = 3;
const RULES = ['auto-converge', 'dirty-limit', 'sdps', 'stunning'] as const;
const PEER = 'auto-converge';
const WORK = '256 MiB, uniform at 60,000 pages/s, 1 Gbit/s (30,500 pages/s)';

async function trial(throttle: string): Promise<TrialRecord> {
  // Two thirds of what the link carries: somebody who knows the link chooses it.
  const limit = throttle === 'dirty-limit' ? 'vcpu-dirty-limit: 80MB/s, ' : '';
  const { trials } = await runSpec(`
name: throttling
warm-up: 2s
guest:
  memory: 256MiB
  workload: {kind: uniform, rate: 60000 pages/s}
migration: {technique: pre-copy, throttle: ${throttle}, ${limit}max-rounds: 30, total-time-limit: 2m}
link: {rate: 1gbit}
`);
  return trials[0]!;
}

function convergedRow(rule: string, outcome: Outcome<TrialRecord>): Row {
  const converged = measured(outcome, ({ convergence }) => (convergence === 'converged' ? 1 : 0));
  const about = { work: `${WORK}, ${rule}`, measure: 'converged', unit: 'of 1' };
  // Without a throttle it does not: that is what makes it hard.
  return row(about, converged, { target: rule === 'none' ? { at_most: 0 } : { at_least: 1 } });
}

function lost(outcome: Outcome<TrialRecord>): Outcome<number> {
  return measured(outcome, ({ throttle }) => throttle!.lost_operations!);
}

export async function throttling(): Promise<Row[]> {
  const found = await inRounds(ROUNDS, {
    none: () => trial('none'),
    'auto-converge': () => trial('auto-converge'),
    'dirty-limit': () => trial('dirty-limit'),
    sdps: () => trial('sdps'),
    stunning: () => trial('stunning'),
  });
  const rows = [convergedRow('none', found.none)];
  for (const rule of RULES) {
    const about = { work: `${WORK}, ${rule}`, measure: 'lost work', unit: 'operations' };
    const isCompared = rule === 'dirty-limit' || rule === 'sdps';
    const comparison = isCompared ? { peer: lost(found[PEER]), target: { at_most: 1 } } : {};
    const downtime = measured(found[rule], ({ downtime_ms }) => downtime_ms!);
    rows.push(
      convergedRow(rule, found[rule]),
      row(about, lost(found[rule]), comparison),
      row({ ...about, measure: 'downtime', unit: 'ms' }, downtime),
    );
  }
  return rows;
}
