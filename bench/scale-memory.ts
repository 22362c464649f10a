/** Whether a migration's time grows with its memory and nothing else: a large guest, a small one, and several. */

import { inRounds, measured } from './rounds.ts';
import { type Outcome, type Row, row } from './row.ts';
import { movesOf, sizeProblem } from './run-spec.ts';

const ROUNDS = 5;
const LARGE_MIB = 4096;
const SMALL_MIB = 256;
const ONE_MIB = 1024;
const GUESTS = 8;
const MIB_PER_GIB = 1024;
const SIZE_TARGET = 1.15;
const COUNT_TARGET = 1.25;

/** The total time of guests that leave at once, in ms: until the last of them is over. */
async function totalMs(memoryMib: number, count = 1): Promise<number> {
  const moves = await movesOf(`
name: scale
guest: {memory: ${memoryMib}MiB, count: ${count}, workload: {kind: idle}}
migration: {technique: pre-copy, all-at-once: true}
`);
  return Math.max(...moves.map((move) => move.totalMs));
}

export async function scaleMemory(roundCount = ROUNDS, largeMib = LARGE_MIB): Promise<Row[]> {
  return [...(await sizeRows(roundCount, largeMib)), ...(await countRows(roundCount))];
}

async function sizeRows(roundCount: number, largeMib: number): Promise<Row[]> {
  const about = { work: `idle, ${largeMib} MiB`, measure: 'total time per GiB', unit: 'ms' };
  const target = { at_most: SIZE_TARGET };
  const problem = sizeProblem(largeMib);
  if (problem !== undefined) return [row(about, { name: 'godwit', problem, failed: false }, { target })];
  const small = `one of ${SMALL_MIB} MiB`;
  const found = await inRounds(roundCount, {
    large: () => totalMs(largeMib),
    [small]: () => totalMs(SMALL_MIB),
  });
  const perGib = (outcome: Outcome<number>, mib: number) =>
    measured(outcome, (ms) => (ms / mib) * MIB_PER_GIB);
  const peer = perGib(found[small], SMALL_MIB);
  return [row(about, perGib(found.large, largeMib), { peer, target })];
}

async function countRows(roundCount: number): Promise<Row[]> {
  const one = `one of ${ONE_MIB} MiB`;
  const found = await inRounds(roundCount, {
    several: () => totalMs(ONE_MIB / GUESTS, GUESTS),
    [one]: () => totalMs(ONE_MIB),
  });
  const work = `idle, ${GUESTS} guests of ${ONE_MIB / GUESTS} MiB at once`;
  const about = { work, measure: 'total time', unit: 'ms' };
  return [row(about, found.several, { peer: found[one], target: { at_most: COUNT_TARGET } })];
}
