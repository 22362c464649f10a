/**
 * `npm run bench [-- --only NAME ...]`: runs the benchmarks, prints a table, and writes bench/results/latest.json with
 * commit and machine. A run of some parts keeps the other parts' rows of the same commit.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { barrier } from './barrier.ts';
import { downtime } from './downtime.ts';
import { footprint } from './footprint.ts';
import { pacing } from './pacing.ts';
import { postcopy } from './postcopy.ts';
import type { Row } from './row.ts';
import { scale } from './scale.ts';
import { shaped } from './shaped.ts';

type Part = () => Promise<Row[]>;
const PARTS: Readonly<Record<string, Part>> = {
  barrier,
  downtime,
  footprint,
  pacing,
  postcopy,
  shaped,
  scale,
};
const OUT = join(dirname(fileURLToPath(import.meta.url)), 'results', 'latest.json');

interface Results {
  readonly commit: string;
  readonly machine: object;
  readonly versions: object;
  readonly rows: Record<string, Row[]>;
}

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' and changes');
  } catch {
    return 'not in a git repository';
  }
}

function earlierRows(now: string): Record<string, Row[]> {
  if (!existsSync(OUT)) return {};
  const earlier = JSON.parse(readFileSync(OUT, 'utf8')) as Results;
  return earlier.commit === now ? earlier.rows : {};
}

function print(rows: readonly Row[]): void {
  const table = new Table({ head: ['work', 'measure', 'median', 'min to max', 'n', 'target', 'met'] });
  const text = (value: number) => value.toFixed(Math.abs(value) < 10 ? 2 : 1);
  for (const row of rows) {
    const { median, min, max, n } = row.godwit;
    const against = row.ratio === undefined ? '' : ` (${text(row.ratio)} of ${row.peer})`;
    const spread = `${text(min)} to ${text(max)}`;
    table.push([
      ...[row.work, row.measure, `${text(median)} ${row.unit}${against}`, spread, n],
      ...[`<= ${row.target}`, row.met ? 'yes' : 'NO'],
    ]);
  }
  console.log(table.toString());
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true } } });
  const names = values.only ?? Object.keys(PARTS);
  const unknown = names.filter((name) => !(name in PARTS));
  if (unknown.length > 0) {
    console.error(`--only ${unknown.join(', ')}: there are ${Object.keys(PARTS).join(', ')}`);
    process.exitCode = 2;
    return;
  }
  const now = commit();
  const rows = earlierRows(now);
  for (const name of names) {
    console.log(`${name} ...`);
    rows[name] = await PARTS[name]!();
    print(rows[name]);
  }
  const machine = { cpus: cpus().length, cpu_model: cpus()[0]?.model, memory_bytes: totalmem() };
  const versions = { node: process.version, kernel: release() };
  const results: Results = { commit: now, machine, versions, rows };
  mkdirSync(dirname(OUT), { recursive: true });
  writeFileSync(OUT, `${JSON.stringify(results, undefined, 2)}\n`);
}

await main();
