/**
 * `npm run bench [-- --only NAME ...]`: runs the benchmarks, prints a table for each, and writes
 * bench/results/latest.json. Ends with 1 when godwit failed in one of them: did not move a guest, or moved it
 * with a fault. A target that is not met is a result like any other.
 */

import { parseArgs } from 'node:util';
import { barrier } from './barrier.ts';
import { endOnInterrupt } from './children.ts';
import { containerClientGap, namespaceClientGap, processClientGap } from './client-gap.ts';
import { dirtyRate } from './dirty-rate.ts';
import { downtime } from './downtime.ts';
import { footprint } from './footprint.ts';
import { freePages } from './free-pages.ts';
import { harvest } from './harvest.ts';
import { loopback } from './loopback.ts';
import { networkAware } from './network-aware.ts';
import { pacing } from './pacing.ts';
import { postcopy } from './postcopy.ts';
import { predict } from './predict.ts';
import { commit, earlierRows, type PartRow, writeResults } from './results.ts';
import { hasFailed, type Row } from './row.ts';
import { scale } from './scale.ts';
import { scaleMemory } from './scale-memory.ts';
import { shaped } from './shaped.ts';
import { shapedMoves } from './shaped-moves.ts';
import { tableText } from './table.ts';
import { throttling } from './throttling.ts';
import { transforms } from './transforms.ts';
import { wire } from './wire.ts';

type Part = () => Promise<Row[]>;
const PARTS: Readonly<Record<string, readonly Part[]>> = {
  barrier: [barrier],
  harvest: [harvest],
  wire: [wire],
  loopback: [loopback],
  shaped: [shapedMoves, shaped],
  scale: [scaleMemory, scale],
  downtime: [downtime],
  footprint: [footprint],
  pacing: [pacing],
  'dirty-rate': [dirtyRate],
  'network-aware': [networkAware],
  postcopy: [postcopy],
  'free-pages': [freePages],
  predict: [predict],
  'client-gap-process': [processClientGap],
  'client-gap-netns': [namespaceClientGap],
  'client-gap-docker': [containerClientGap],
  transforms: [transforms],
  throttling: [throttling],
};

/** By the whole name, or by how several begin: `client-gap` is all of its kinds. */
function partsOf(name: string): string[] {
  return Object.keys(PARTS).filter((part) => part === name || part.startsWith(`${name}-`));
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true } } });
  const wanted = values.only ?? Object.keys(PARTS);
  const unknown = wanted.filter((name) => partsOf(name).length === 0);
  if (unknown.length > 0) {
    console.error(`--only ${unknown.join(', ')}: there are ${Object.keys(PARTS).join(', ')}`);
    process.exitCode = 2;
    return;
  }
  const names = [...new Set(wanted.flatMap(partsOf))];
  endOnInterrupt();
  const now = commit();
  const rows: PartRow[] = earlierRows(now).filter(({ part }) => !names.includes(part));
  for (const name of names) {
    for (const part of PARTS[name]!) {
      console.log(`${name} ...`);
      const found = await part();
      console.log(tableText(found));
      rows.push(...found.map((each) => ({ part: name, ...each })));
      if (found.some(hasFailed)) process.exitCode = 1;
    }
  }
  await writeResults(now, rows);
}

await main();
