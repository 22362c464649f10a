/** How closely a guest's achieved dirty rate follows the requested one. */

import { type Row, rowAtMost } from './row.ts';
import { runSpec } from './run-spec.ts';

const RATES = [1_000, 10_000, 100_000];
const TRIALS = 3;
const TARGET_PERCENT = 2;

export async function pacing(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const rate of RATES) {
    const record = await runSpec(`
name: pacing
trials: ${TRIALS}
warm-up: 3s
guest:
  memory: 64MiB
  workload: {kind: uniform, rate: ${rate} pages/s}
migration: {technique: stop-and-copy}
`);
    const offByPercent = record.trials.map(
      ({ dirty_rate_pps_achieved }) => (Math.abs(dirty_rate_pps_achieved! - rate) / rate) * 100,
    );
    const work = `uniform workload at ${rate.toLocaleString('en')} pages/s, over 3 s`;
    rows.push(
      rowAtMost({ work, measure: 'achieved against requested', unit: '%' }, offByPercent, TARGET_PERCENT),
    );
  }
  return rows;
}
