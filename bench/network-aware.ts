/**
 * What a migration knows of its link, and what it leaves to others: how far the estimate is off a second after the
 * link's rate has changed, and what other traffic keeps while a guest moves by the rule that yields, and what that gets.
 */

import type { TrialRecord } from '../records/result-record.ts';
import { attempt, measured } from './rounds.ts';
import { type About, type Outcome, type Row, row, type Target } from './row.ts';
import { runSpec } from './run-spec.ts';

const TRIALS = 3;
const OFF_PERCENT_MAX = 10;
const KEPT_PERCENT_MIN = 90;
const SHARE_PERCENT_MIN = 85;

/** The link's rate before and after a step 1.5 s into the migration, Mbit/s. */
const STEPS = [
  { from: 400, to: 100 },
  { from: 100, to: 400 },
];

function stepSpec({ from, to }: (typeof STEPS)[number]): string {
  return `
name: rate-step
trials: ${TRIALS}
warm-up: 500ms
guest:
  memory: 128MiB
  workload: {kind: hot-cold, rate: 500 pages/s, working-set: 4MiB, hot: 0.9}
migration: {technique: pre-copy}
link: {rate: ${from}mbit}
schedule: [{at: 1500ms, rate: ${to}mbit}]
`;
}

async function stepErrors(step: (typeof STEPS)[number]): Promise<number[]> {
  const { trials } = await runSpec(stepSpec(step));
  return trials.map(({ estimates }) => {
    const error = estimates?.error_after_step_percent;
    if (error === null || error === undefined) throw new Error('the bandwidth was not known after the step');
    return error;
  });
}

/** @param rule of migration.bandwidth-rule */
function backgroundSpec(rule: string): string {
  return `
name: background
trials: ${TRIALS}
warm-up: 1500ms
guest:
  memory: 192MiB
  workload: {kind: hot-cold, rate: 500 pages/s, working-set: 4MiB, hot: 0.9}
migration: {technique: pre-copy, channels: 4, bandwidth-rule: ${rule}}
link: {rate: 400mbit, discipline: fifo}
background: {rate: 120mbit}
`;
}

type Background = NonNullable<TrialRecord['background']>;

async function backgrounds(rule: string): Promise<Background[]> {
  const { trials } = await runSpec(backgroundSpec(rule));
  return trials.map(({ background }) => {
    if (background === null) throw new Error('the record has no other traffic');
    return background;
  });
}

export async function networkAware(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const step of STEPS) {
    const about: About = {
      work: `link from ${step.from} to ${step.to} Mbit/s during the first round, relay`,
      measure: 'estimate of the bandwidth against the link, 1 s after the step',
      unit: '%',
    };
    rows.push(row(about, await attempt(() => stepErrors(step)), { target: { at_most: OFF_PERCENT_MAX } }));
  }
  for (const rule of ['delay', 'fixed']) {
    const found = await attempt(() => backgrounds(rule));
    // What the rule is compared with has no target of its own.
    rows.push(...backgroundRows(rule, found, rule === 'delay'));
  }
  return rows;
}

function backgroundRows(rule: string, found: Outcome<Background>, isHeld: boolean): Row[] {
  const work = `120 of 400 Mbit/s are other traffic, fifo, 4 channels, bandwidth-rule ${rule}`;
  const of = (measure: string, pick: (one: Background) => number | null, min: number): Row => {
    const target: Target = { at_least: min };
    const values = measured(found, (one) => pick(one) ?? Number.NaN);
    return row({ work, measure, unit: '%' }, values, isHeld ? { target } : {});
  };
  return [
    of('other traffic that arrives during the migration', (one) => one.kept_percent, KEPT_PERCENT_MIN),
    of('of the rest, what the migration gets', (one) => one.migration_share_percent, SHARE_PERCENT_MIN),
  ];
}
