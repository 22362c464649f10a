/**
 * The seeded mixes of workload, memory, link, technique and goal that predictions and choices are scored on. Each is a
 * spec, as a user would write it; sizes are such that a move takes 0.3 to 3 s.
 */

import { TECHNIQUES, type Technique } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { Random } from '../workloads/random.ts';

export interface Mix {
  readonly name: string;
  /** Whose prediction is scored; all are run, to know what could be chosen. */
  readonly technique: Technique;
  readonly yaml: string;
  readonly mbit: number;
  readonly delayMs: number;
  readonly goal: { readonly maxDowntimeMs: number; readonly maxTotalMs: number; readonly mayLose: boolean };
}

const MEMORY_MIB = [16, 24, 32, 48, 64, 96, 128];
const LINKS_MBIT = [200, 300, 400, 500, 700, 1000];
const DELAYS_MS = [0, 0, 0, 2, 5];
const KINDS = ['idle', 'uniform', 'sequential', 'hot-cold', 'zipf'] as const;
const WORKING_SETS = [1 / 16, 1 / 8, 1 / 4, 1 / 2];
const DOWNTIME_LIMITS_MS = [30, 100, 300];
const MAX_DOWNTIMES_MS = [15, 30, 60, 150, 500];
/** Of the time that the memory takes on the link; 0: no limit. */
const MAX_TOTALS = [0, 0, 1.3, 1.8, 3];
/** And so much for setting up. */
const SETUP_MS = 300;
/** Pages per second that the guest writes, of what the link carries: from and to. */
const WRITES_MIN = 0.05;
const WRITES_MAX = 1.5;
const WRITES_PER_S_MAX = 30_000;
/** How long the whole memory may take on the link. */
const COPY_S_MIN = 0.25;
const COPY_S_MAX = 1.6;
const BYTES_PER_MIB = 1024 ** 2;
const BYTES_PER_S_PER_MBIT = 125_000;
const UNIT = 2 ** -32;

export function predictionMixes(count: number, seed = 7n): Mix[] {
  return Array.from({ length: count }, (_, index) => mix(new Random(seed, index), index));
}

function mix(random: Random, index: number): Mix {
  const share = (): number => random.next() * UNIT;
  const pick = <Value>(values: readonly Value[]): Value => values[Math.floor(share() * values.length)]!;
  const copyS = (mib: number, mbit: number) => (mib * BYTES_PER_MIB) / (mbit * BYTES_PER_S_PER_MBIT);
  let [memoryMib, mbit] = [pick(MEMORY_MIB), pick(LINKS_MBIT)];
  while (copyS(memoryMib, mbit) < COPY_S_MIN || copyS(memoryMib, mbit) > COPY_S_MAX) {
    [memoryMib, mbit] = [pick(MEMORY_MIB), pick(LINKS_MBIT)];
  }
  const kind = KINDS[index % KINDS.length]!;
  const technique = TECHNIQUES[Math.floor(index / KINDS.length) % TECHNIQUES.length]!;
  const delayMs = pick(DELAYS_MS);
  const writes = WRITES_MIN * (WRITES_MAX / WRITES_MIN) ** share();
  const linkPagesPerS = (mbit * BYTES_PER_S_PER_MBIT) / PAGE_BYTES;
  const rate = Math.round(Math.min(WRITES_PER_S_MAX, linkPagesPerS * writes));
  const workingSetMib = Math.max(1, Math.round(memoryMib * pick(WORKING_SETS)));
  const zero = pick([0, 0.2, 0.5]);
  const goal = {
    maxDowntimeMs: pick(MAX_DOWNTIMES_MS),
    maxTotalMs: Math.round(pick(MAX_TOTALS) * copyS(memoryMib, mbit) * 1000),
    mayLose: share() < 0.4,
  };
  if (goal.maxTotalMs > 0) goal.maxTotalMs += SETUP_MS;
  const more = { hot: kind === 'hot-cold' ? ', hot: 0.9' : '', theta: kind === 'zipf' ? ', theta: 0.9' : '' };
  const workload =
    kind === 'idle'
      ? '{kind: idle}'
      : `{kind: ${kind}, rate: ${rate} pages/s, working-set: ${workingSetMib}MiB${more.hot}${more.theta}}`;
  const yaml = `
seed: ${index + 1}
guest: {name: mix-${index + 1}, memory: ${memoryMib}MiB, content: {zero: ${zero}}, workload: ${workload}}
migration:
  technique: [${TECHNIQUES.join(', ')}, auto]
  downtime-limit: ${pick(DOWNTIME_LIMITS_MS)}ms
  max-rounds: 6
  goal:
    max-downtime: ${goal.maxDowntimeMs}ms
    max-total-time: ${goal.maxTotalMs}ms
    may-lose-on-link-failure: ${goal.mayLose}
`;
  const writing = kind === 'idle' ? kind : `${kind} ${rate}/s in ${workingSetMib} MiB`;
  const name = `${memoryMib} MiB, ${writing}, ${mbit} Mbit/s, ${delayMs} ms`;
  return { name, technique, yaml, mbit, delayMs, goal };
}
