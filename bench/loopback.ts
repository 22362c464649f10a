/**
 * One guest over loopback, moved by godwit and by QEMU, and what iperf3 carries over the same path: a guest
 * that is idle, and one that writes. Both are full of pages that are neither zero nor alike.
 */

import type { Move } from './move.ts';
import { iperf3 } from './peers/iperf3.ts';
import { type QemuTechnique, qemuMove } from './peers/qemu.ts';
import { best, inRounds, measured } from './rounds.ts';
import { type About, type Outcome, type Row, row, type Target } from './row.ts';
import { movesOf } from './run-spec.ts';

const ROUNDS = 5;
const MEMORY_MIB = 1024;
/** The default of both. */
const DOWNTIME_LIMIT_MS = 300;
const WORKING_SET_MIB = 256;
const PAGES_PER_S = 20_000;
/** QEMU and iperf3 send in the clear. */
const AS_PEERS = '[zero, encryption: none]';
const LOOPBACK = '127.0.0.1';
const BYTES_PER_MIB = 1024 ** 2;

const total = ({ totalMs }: Move): number => totalMs;
const downtime = ({ downtimeMs }: Move): number => downtimeMs;
const mibPerS = (bytesPerS: number): number => bytesPerS / BYTES_PER_MIB;

/** A guest as both can have it; 0 pages per second: idle. */
interface LoopbackGuest {
  readonly memoryMib: number;
  readonly pagesPerS: number;
}

async function godwit({ memoryMib, pagesPerS }: LoopbackGuest, channels: number): Promise<Move> {
  const writing = `{kind: uniform, rate: ${pagesPerS} pages/s, working-set: ${WORKING_SET_MIB}MiB}`;
  const moves = await movesOf(`
name: loopback
guest:
  memory: ${memoryMib}MiB
  workload: ${pagesPerS === 0 ? '{kind: idle}' : writing}
migration:
  technique: pre-copy
  channels: ${channels}
  downtime-limit: ${DOWNTIME_LIMIT_MS}ms
  transforms: ${AS_PEERS}
`);
  return moves[0]!;
}

function qemu({ memoryMib, pagesPerS }: LoopbackGuest, technique: QemuTechnique): Promise<Move> {
  const workingSetBytes = pagesPerS === 0 ? 0 : WORKING_SET_MIB * BYTES_PER_MIB;
  return qemuMove({
    guest: { memoryBytes: memoryMib * BYTES_PER_MIB, workingSetBytes, pagesPerS },
    technique,
    downtimeLimitMs: DOWNTIME_LIMIT_MS,
  });
}

/** All that move a guest. */
function movers(guest: LoopbackGuest) {
  return {
    'godwit, 1 channel': () => godwit(guest, 1),
    'QEMU pre-copy': () => qemu(guest, { kind: 'pre-copy' }),
    'godwit, 2 channels': () => godwit(guest, 2),
    'QEMU multifd, 2 channels': () => qemu(guest, { kind: 'multifd', channels: 2 }),
    'godwit, 4 channels': () => godwit(guest, 4),
    'QEMU multifd, 4 channels': () => qemu(guest, { kind: 'multifd', channels: 4 }),
    'QEMU post-copy': () => qemu(guest, { kind: 'post-copy' }),
  };
}

type Outcomes = Record<keyof ReturnType<typeof movers>, Outcome<Move>>;

function bestGodwit(found: Outcomes): Outcome<Move> {
  return best([found['godwit, 1 channel'], found['godwit, 2 channels'], found['godwit, 4 channels']], total);
}

function bestMultifd(found: Outcomes): Outcome<Move> {
  return best([found['QEMU multifd, 2 channels'], found['QEMU multifd, 4 channels']], total);
}

/** What one mover's median is to another's, by the same measure. */
function against(
  about: About,
  ours: Outcome<Move>,
  theirs: Outcome<Move>,
  measure: (move: Move) => number,
  target?: Target,
): Row {
  const peer = measured(theirs, measure);
  return row(named(about, ours), measured(ours, measure), target === undefined ? { peer } : { peer, target });
}

function named(about: About, { name }: Outcome<Move>): About {
  return { ...about, work: `${about.work}, ${name}` };
}

async function idleRows(roundCount: number, memoryMib: number): Promise<Row[]> {
  const guest = { memoryMib, pagesPerS: 0 };
  const found = await inRounds(roundCount, {
    'iperf3, 1 stream': () => iperf3({ streams: 1, address: LOOPBACK }),
    'iperf3, 4 streams': () => iperf3({ streams: 4, address: LOOPBACK }),
    ...movers(guest),
  });
  const work = `idle, ${memoryMib} MiB`;
  const speed = { work, measure: 'bytes per second', unit: 'MiB/s' };
  const time = { work, measure: 'total time', unit: 'ms' };
  const pause = { work, measure: 'downtime', unit: 'ms' };
  const rate = (outcome: Outcome<Move>): Outcome<number> =>
    measured(outcome, ({ bytesPerS }) => mibPerS(bytesPerS));
  const one = found['godwit, 1 channel'];
  const ours = bestGodwit(found);
  return [
    row(named(speed, one), rate(one), {
      peer: measured(found['iperf3, 1 stream'], mibPerS),
      target: { at_least: 0.65 },
    }),
    row(named(speed, ours), rate(ours), { peer: measured(found['iperf3, 4 streams'], mibPerS) }),
    against(time, one, found['QEMU pre-copy'], total, { at_most: 0.75 }),
    against(time, ours, bestMultifd(found), total, { at_most: 0.95 }),
    against(time, ours, found['QEMU post-copy'], total),
    against(pause, one, found['QEMU pre-copy'], downtime, { at_most: 0.5 }),
    row(named(pause, one), measured(one, downtime), { target: { at_most: 5 } }),
  ];
}

async function writingRows(roundCount: number, memoryMib: number): Promise<Row[]> {
  const found = await inRounds(roundCount, movers({ memoryMib, pagesPerS: PAGES_PER_S }));
  const rate = PAGES_PER_S.toLocaleString('en');
  const work = `writing ${rate} pages/s in ${WORKING_SET_MIB} of ${memoryMib} MiB`;
  const time = { work, measure: 'total time', unit: 'ms' };
  const ours = bestGodwit(found);
  const preCopy = best([found['QEMU pre-copy'], bestMultifd(found)], total);
  const theirs = best([preCopy, found['QEMU post-copy']], total);
  return [
    against(time, ours, theirs, total, { at_most: 0.95 }),
    against({ ...time, measure: 'downtime' }, ours, preCopy, downtime),
  ];
}

export async function loopback(roundCount = ROUNDS, memoryMib = MEMORY_MIB): Promise<Row[]> {
  return [...(await idleRows(roundCount, memoryMib)), ...(await writingRows(roundCount, memoryMib))];
}
