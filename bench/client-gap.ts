/**
 * What a client outside waits for besides the downtime when a guest moves, by every technique: through the forwarder
 * between processes, and both ways between network namespaces (as root only) and between containers (where an
 * engine can be run).
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingNamespaceRights } from '../fabric/netns-fabric.ts';
import { errorText } from '../proto/errors.ts';
import { TECHNIQUES } from '../proto/names.ts';
import type { ClientRecord, ResultRecord } from '../records/result-record.ts';
import { Engine } from '../test/docker/support/engine.ts';
import { Stack } from '../test/docker/support/stack.ts';
import { type Row, row, rowAtMost } from './row.ts';
import { runSpec } from './run-spec.ts';

/** Of each technique. Five take 15 minutes in all, three half of it. */
const TRIALS = 3;
const TARGET_MS = 5;
const WAYS = ['forwarder', 'address'] as const;
/** One after the other: two load generators at once would measure each other on a small machine. */
const PROTOCOLS = ['udp', 'tcp'] as const;
const MEASURE = { measure: 'client gap - downtime', unit: 'ms' } as const;
const SPEC_NAME = 'client-gap-bench';

type Run = (yaml: string) => Promise<ResultRecord>;

export function processClientGap(): Promise<Row[]> {
  return rowsOf('process', ['forwarder'], runSpec);
}

export async function namespaceClientGap(): Promise<Row[]> {
  const missing = missingNamespaceRights();
  if (missing === undefined) return await rowsOf('netns', WAYS, runSpec);
  return [notMeasured('between network namespaces', missing)];
}

export async function containerClientGap(): Promise<Row[]> {
  let engine: Engine;
  try {
    engine = await Engine.start();
  } catch (error) {
    return [notMeasured('between containers', `no Docker engine can be run here: ${errorText(error)}`)];
  }
  try {
    const stack = await Stack.build(engine);
    return await rowsOf('docker', WAYS, (yaml) => runInContainers(stack, yaml));
  } finally {
    await engine.close();
  }
}

function notMeasured(work: string, problem: string): Row {
  const target = { at_most: TARGET_MS };
  return row({ work, ...MEASURE }, { name: 'godwit', problem, failed: false }, { target });
}

/** `docker compose up` as users do it, with this spec in their experiments. */
async function runInContainers(stack: Stack, yaml: string): Promise<ResultRecord> {
  const before = stack.results();
  writeFileSync(join(stack.folder, 'experiments', `${SPEC_NAME}.yaml`), yaml);
  const { code, text } = await stack.tryCompose(
    { GODWIT_SPEC: SPEC_NAME },
    ...['up', '--exit-code-from', 'runner'],
  );
  await stack.compose('--profile', 'run', 'down', '--volumes');
  const found = [...stack.results()].find(([path]) => !before.has(path));
  if (code !== 0 || found === undefined) throw new Error(`docker compose up ended with ${code}: ${text}`);
  return found[1];
}

async function rowsOf(fabric: string, ways: readonly string[], run: Run): Promise<Row[]> {
  const rows: Row[] = [];
  for (const via of ways) {
    for (const protocol of PROTOCOLS) {
      const { trials } = await run(specOf(fabric, via, protocol));
      const groups = Map.groupBy(trials, ({ technique }) => technique);
      for (const [technique, group] of groups) {
        const work = `${technique}, ${fabric}, ${protocol} via ${via}, 1,000 requests/s`;
        const values = group.flatMap(({ clients }) => clients ?? []).map(gapBesidesDowntimeMs);
        rows.push(rowAtMost({ work, ...MEASURE }, values, TARGET_MS));
      }
    }
  }
  return rows;
}

/** @throws Error when nobody answered after the move: the gap has no end */
function gapBesidesDowntimeMs({ address, gap_minus_downtime_ms: ms }: ClientRecord): number {
  if (ms !== null) return ms;
  throw new Error(`the clients of ${address} had no answer after a migration: their gap has no end`);
}

/** Containers are there already: what the spec says of the fabric is for local ones. */
function specOf(fabric: string, via: string, protocol: string): string {
  return `
name: client-gap
trials: ${TRIALS}
warm-up: 1500ms
fabric: {kind: ${fabric === 'netns' ? 'netns' : 'process'}}
guest: {memory: 64MiB, workload: {kind: kv, working-set: 16MiB}}
migration: {technique: [${TECHNIQUES.join(', ')}]}
clients: {protocol: ${protocol}, rate: 1000 requests/s, via: ${via}}
`;
}
