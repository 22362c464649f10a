/** What the write barrier costs: the same workload loop with and without it, interleaved. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Row, row } from './row.ts';

const LOOP = fileURLToPath(new URL('./barrier-loop.ts', import.meta.url));
const ROUNDS = 9;
const TARGET_RATIO = 1.15;

async function nsPerWrite(kind: 'tracked' | 'untracked'): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [LOOP, kind]);
  return Number(stdout);
}

export async function barrier(): Promise<Row[]> {
  const tracked: number[] = [];
  const untracked: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    tracked.push(await nsPerWrite('tracked'));
    untracked.push(await nsPerWrite('untracked'));
  }
  const about = { work: 'uniform workload over 256 MiB', measure: 'time per page write', unit: 'ns' };
  const withBarrier = { name: 'godwit', samples: tracked };
  const peer = { name: 'no barrier', samples: untracked };
  return [row(about, withBarrier, { peer, target: { at_most: TARGET_RATIO } })];
}
