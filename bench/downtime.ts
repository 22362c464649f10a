/** The downtime of a busy guest's pre-copy on an unshaped link. */

import { attempt, measured } from './rounds.ts';
import { type Row, row } from './row.ts';
import { movesOf } from './run-spec.ts';

const TRIALS = 9;
const TARGET_MS = 15;

export async function downtime(): Promise<Row[]> {
  const moves = await attempt(() =>
    movesOf(`
name: downtime
trials: ${TRIALS}
guest:
  memory: 256MiB
  workload: {kind: hot-cold, rate: 5000 pages/s, working-set: 32MiB, hot: 0.9}
migration: {technique: pre-copy}
`),
  );
  const about = { work: '256 MiB, hot-cold at 5,000 pages/s, pre-copy', measure: 'downtime', unit: 'ms' };
  return [
    row(
      about,
      measured(moves, ({ downtimeMs }) => downtimeMs),
      { target: { at_most: TARGET_MS } },
    ),
  ];
}
