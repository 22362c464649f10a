/**
 * What a client outside waits for besides the downtime when a guest moves: through the forwarder between
 * processes, and at the guest's own address between network namespaces (as root only).
 */

import { missingNamespaceRights } from '../fabric/netns-fabric.ts';
import { type Row, rowAtMost } from './row.ts';
import { runSpec } from './run-spec.ts';

const TRIALS = 5;
const TARGET_MS = 5;
const FABRICS = [
  { kind: 'process', via: 'forwarder' },
  { kind: 'netns', via: 'forwarder' },
  { kind: 'netns', via: 'address' },
] as const;
/** One after the other: two load generators at once would measure each other on a small machine. */
const PROTOCOLS = ['udp', 'tcp'] as const;

export async function clientGap(): Promise<Row[]> {
  const missing = missingNamespaceRights();
  if (missing !== undefined) console.log(`namespaces are not measured: ${missing}`);
  const rows: Row[] = [];
  for (const { kind, via } of FABRICS) {
    if (kind === 'netns' && missing !== undefined) continue;
    for (const protocol of PROTOCOLS) rows.push(...(await rowsOf(kind, via, protocol)));
  }
  return rows;
}

async function rowsOf(kind: string, via: string, protocol: string): Promise<Row[]> {
  const { trials } = await runSpec(`
name: client-gap
trials: ${TRIALS}
warm-up: 2s
fabric: {kind: ${kind}}
guest: {memory: 64MiB, workload: {kind: kv, working-set: 16MiB}}
migration: {technique: [stop-and-copy, pre-copy]}
clients: {protocol: ${protocol}, rate: 1000 requests/s, via: ${via}}
`);
  const groups = Map.groupBy(trials, ({ technique }) => technique);
  return [...groups].map(([technique, group]) => {
    const work = `${technique}, ${kind}, ${protocol} via ${via}, 1,000 requests/s`;
    const about = { work, measure: 'client gap - downtime', unit: 'ms' };
    const values = group
      .flatMap(({ clients }) => clients ?? [])
      .map((client) => client.gap_minus_downtime_ms!);
    return rowAtMost(about, values, TARGET_MS);
  });
}
