/**
 * What leaving pages out saves, by `godwit run`: an idle guest of which 80 % is free, with hints and with a
 * balloon against without, plain loopback and the default encryption; and a hot-cold guest whose rounds skip
 * what is dirty again. Contenders run in turn; what is compared is of one run.
 */

import type { TrialRecord } from '../records/result-record.ts';
import { inRounds, measured } from './rounds.ts';
import { type Outcome, type Row, row, type Target } from './row.ts';
import { runSpec } from './run-spec.ts';

const ROUNDS = 5;
const MEMORY_MIB = 1024;

interface Size {
  readonly roundCount: number;
  readonly memoryMib: number;
}

async function trialOf(spec: string): Promise<TrialRecord> {
  return (await runSpec(`name: free-pages\n${spec}`)).trials[0] as TrialRecord;
}

/** One outcome's measure against another's. */
function against(
  about: { readonly work: string; readonly measure: string; readonly unit: string },
  ours: Outcome<TrialRecord>,
  theirs: Outcome<TrialRecord>,
  measure: (trial: TrialRecord) => number,
  target?: Target,
): Row {
  const peer = measured(theirs, measure);
  return row(about, measured(ours, measure), target === undefined ? { peer } : { peer, target });
}

const totalMs = (trial: TrialRecord): number => trial.total_time_ms as number;
const sentPages = (trial: TrialRecord): number =>
  (trial.normal_pages as number) + (trial.zero_pages as number);

async function freeRows({ roundCount, memoryMib }: Size): Promise<Row[]> {
  const move = (technique: string, kind: string) => () =>
    trialOf(`
guest: {memory: ${memoryMib}MiB, content: {free: 0.8, compressible: 0.5}, workload: {kind: idle}}
migration: {technique: ${technique}, free-pages: ${kind}}
`);
  const found = await inRounds(roundCount, {
    none: move('pre-copy', 'none'),
    hints: move('pre-copy', 'hints'),
    balloon: move('pre-copy', 'balloon'),
    'post-copy, none': move('post-copy', 'none'),
    'post-copy, hints': move('post-copy', 'hints'),
  });
  const about = (how: string) => {
    const work = `idle, ${memoryMib} MiB, 80 % free, aes-256-gcm, ${how}, against sending free pages`;
    return { work, measure: 'total time', unit: 'ms' };
  };
  return [
    against(about('pre-copy, hints'), found.hints, found.none, totalMs, { at_most: 0.3 }),
    against(about('pre-copy, balloon'), found.balloon, found.none, totalMs),
    against(about('post-copy, hints'), found['post-copy, hints'], found['post-copy, none'], totalMs),
  ];
}

/** At a fixed bandwidth, so that what is written meanwhile does not depend on the machine. */
async function skipRows({ roundCount }: Size): Promise<Row[]> {
  const move = (options: string) => () =>
    trialOf(`
warm-up: 1s
guest:
  memory: 128MiB
  workload: {kind: hot-cold, rate: 20000 pages/s, working-set: 16MiB, hot: 0.9}
migration: {technique: pre-copy, max-bandwidth: 125MB/s, downtime-limit: 20ms, max-rounds: 8, ${options}}
`);
  const found = await inRounds(roundCount, {
    none: move('skip: none'),
    'dirtied-again': move('skip: dirtied-again'),
    'working-set': move('skip: working-set'),
    'dirty-last': move('skip: dirtied-again, dirty-last: true'),
  });
  const about = (how: string) => {
    const work = `hot-cold at 20,000 pages/s in 16 of 128 MiB, 1 Gbit/s, ${how}, against sending all`;
    return { work, measure: 'pages sent', unit: '' };
  };
  return [
    against(about('dirtied-again'), found['dirtied-again'], found.none, sentPages),
    against(about('working-set'), found['working-set'], found.none, sentPages),
    against(about('dirtied-again and dirty-last'), found['dirty-last'], found.none, sentPages),
  ];
}

export async function freePages(roundCount = ROUNDS, memoryMib = MEMORY_MIB): Promise<Row[]> {
  const size = { roundCount, memoryMib };
  return [...(await freeRows(size)), ...(await skipRows(size))];
}
