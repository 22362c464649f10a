/** bench/results/latest.json: the rows of a run with the commit, the machine and the versions they are of. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { IPERF3 } from './peers/iperf3.ts';
import { programVersion } from './peers/peer.ts';
import { QEMU, qemuAccelerator } from './peers/qemu.ts';
import type { Row } from './row.ts';

const OUT = join(dirname(fileURLToPath(import.meta.url)), 'results', 'latest.json');

/** A row and the part of the benchmark that it is of. */
export type PartRow = Row & { readonly part: string };

export interface Results {
  readonly commit: string;
  readonly machine: object;
  readonly versions: object;
  readonly rows: readonly PartRow[];
}

/** The commit that is measured, and whether anything but the results has been changed since. */
export function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  try {
    const changes = git('status', '--porcelain', '--', ':/', ':(exclude,top)bench/results');
    return git('rev-parse', '--short', 'HEAD') + (changes === '' ? '' : ' and changes');
  } catch {
    return 'not in a git repository';
  }
}

/** The last results when they are of this commit: a run of some parts keeps the other parts' rows. */
export function earlierRows(now: string): readonly PartRow[] {
  if (!existsSync(OUT)) return [];
  const earlier = JSON.parse(readFileSync(OUT, 'utf8')) as Results;
  return earlier.commit === now ? earlier.rows : [];
}

export async function writeResults(now: string, rows: readonly PartRow[]): Promise<void> {
  const machine = { cpus: cpus().length, cpu_model: cpus()[0]?.model, memory_bytes: totalmem() };
  const versions = {
    node: process.version,
    kernel: release(),
    iperf3: await programVersion(IPERF3),
    qemu: await programVersion(QEMU),
    qemu_accelerator: qemuAccelerator(),
  };
  const results: Results = { commit: now, machine, versions, rows };
  mkdirSync(dirname(OUT), { recursive: true });
  writeFileSync(OUT, `${JSON.stringify(results, undefined, 2)}\n`);
}
