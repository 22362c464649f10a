/** How closely a guest's achieved dirty rate follows the requested one. */

import { attempt } from './rounds.ts';
import { type Row, row } from './row.ts';
import { runSpec } from './run-spec.ts';

const RATES = [1_000, 10_000, 100_000];
const TRIALS = 3;
const TARGET_PERCENT = 2;

/** By how much each trial's rate was off, in percent. */
async function offByPercent(rate: number): Promise<number[]> {
  const { trials } = await runSpec(`
name: pacing
trials: ${TRIALS}
warm-up: 3s
guest:
  memory: 64MiB
  workload: {kind: uniform, rate: ${rate} pages/s}
migration: {technique: stop-and-copy}
`);
  return trials.map(
    ({ dirty_rate_pps_achieved }) => (Math.abs(dirty_rate_pps_achieved! - rate) / rate) * 100,
  );
}

export async function pacing(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const rate of RATES) {
    const work = `uniform workload at ${rate.toLocaleString('en')} pages/s, over 3 s`;
    const about = { work, measure: 'achieved against requested', unit: '%' };
    rows.push(row(about, await attempt(() => offByPercent(rate)), { target: { at_most: TARGET_PERCENT } }));
  }
  return rows;
}
