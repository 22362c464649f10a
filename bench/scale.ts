/**
 * Many hosts on one machine, each in a network namespace of its own: how long they take to start, whether each
 * can move an idle guest to its neighbour, and what memory it takes. For root; else it says why not.
 */
import { readFileSync } from 'node:fs';
import { guestFromFlags, migrationFromFlags } from '../cli/flags-to-spec.ts';
import { TestbedClient } from '../experiment/testbed-client.ts';
import { type Fabric, FabricUnavailableError } from '../fabric/fabric.ts';
import { startNetnsFabric } from '../fabric/netns-fabric.ts';
import { errorText } from '../proto/errors.ts';
import { MigrationPhase } from '../proto/generated/godwit/v1/migration.ts';
import { type About, type Row, row, rowAtMost, spreadOf } from './row.ts';

const HOSTS = 50;
const MOVES_AT_ONCE = 6;
const GUEST = { memory: '4MiB', workload: 'idle' };
const MEMORY_BYTES_PER_HOST = 64 * 1024 * 1024;
const LEASE_MS = 10_000;
const START_TARGET_S = 120;
const MEMORY_TARGET_GIB = 24;
const KIB_PER_GIB = 1024 * 1024;

export interface ScaleResult {
  /** From nothing until all hosts have registered. */
  readonly startMs: number;
  /** From the first migration's begin to the last one's end. */
  readonly movesMs: number;
  /** Each migration that came to an end, as its caller saw it. */
  readonly moveMs: readonly number[];
  /** What went wrong, a sentence for each: a migration that did not complete, an audit that found a fault. */
  readonly failures: readonly string[];
  /** What the host processes take of the machine's memory, each with its part of what they share. */
  readonly memoryGib: number;
}

/**
 * Starts hosts in namespaces, gives each an idle guest, moves each guest to the next host (a few at a time) and
 * audits it there; ends everything.
 * @throws FabricUnavailableError when this process may not make namespaces
 */
export async function moveAround(hostCount: number): Promise<ScaleResult> {
  const beginMs = performance.now();
  const died: string[] = [];
  const fabric = await startNetnsFabric({
    hostCount,
    memoryBytesPerHost: MEMORY_BYTES_PER_HOST,
    stateFile: ':memory:',
    leaseMs: LEASE_MS,
    died: (_part, what) => died.push(what),
  });
  const startMs = performance.now() - beginMs;
  const client = new TestbedClient(fabric.coordinatorAddress);
  try {
    const moves = await moveAll(fabric, client);
    const memoryGib = fabric.hosts().reduce((sum, { pid }) => sum + memoryKib(pid), 0) / KIB_PER_GIB;
    return { startMs, ...moves, failures: [...moves.failures, ...died], memoryGib };
  } finally {
    client.close();
    await fabric.close();
  }
}

async function moveAll(
  fabric: Fabric,
  client: TestbedClient,
): Promise<Omit<ScaleResult, 'startMs' | 'memoryGib'>> {
  const hosts = fabric.hosts().map(({ name }) => name);
  await fewAtATime(hosts, async (host) => {
    await client.createGuest(guestFromFlags(guestOf(host), GUEST), host);
  });
  const moveMs: number[] = [];
  const failures: string[] = [];
  const beginMs = performance.now();
  await fewAtATime(hosts, async (host, index) => {
    const guest = guestOf(host);
    const destination = hosts[(index + 1) % hosts.length]!;
    const options = migrationFromFlags({});
    const moveBeginMs = performance.now();
    try {
      const report = await client.migrate({ guest, destination, options, progress: () => {} });
      if (report.phase !== MigrationPhase.MIGRATION_PHASE_COMPLETED)
        failures.push(`${guest}: ${report.reason}`);
      moveMs.push(performance.now() - moveBeginMs);
    } catch (error) {
      failures.push(errorText(error));
    }
  });
  const movesMs = performance.now() - beginMs;
  await fewAtATime(hosts, async (host) => {
    const { faultCount } = await client.auditGuest(guestOf(host));
    if (faultCount > 0n) failures.push(`${guestOf(host)}: ${faultCount} pages are wrong`);
  });
  return { movesMs, moveMs, failures };
}

function guestOf(host: string): string {
  return `guest-of-${host}`;
}

async function fewAtATime<Item>(
  items: readonly Item[],
  work: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const waiting = items.entries();
  const lane = async (): Promise<void> => {
    for (const [index, item] of waiting) await work(item, index);
  };
  await Promise.all(Array.from({ length: MOVES_AT_ONCE }, lane));
}

function memoryKib(pid: number): number {
  const kib = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} does not say how much memory it has`);
  return Number(kib);
}

const about = (measure: string, unit: string): About => ({
  work: `${HOSTS} hosts in namespaces, an idle guest each`,
  measure,
  unit,
});
const START = about('start', 's');
const MOVES = about('all moves, each proven', 's');
const MEMORY = about('memory of all hosts', 'GiB');

export async function scale(): Promise<Row[]> {
  let result: ScaleResult;
  try {
    result = await moveAround(HOSTS);
  } catch (error) {
    if (!(error instanceof FabricUnavailableError)) throw error;
    const none = { name: 'godwit', problem: error.message, failed: false };
    return [START, MOVES, MEMORY].map((each) => row(each, none));
  }
  const { startMs, movesMs, moveMs, failures, memoryGib } = result;
  for (const failure of failures) console.log(`  ${failure}`);
  // All hosts share one machine's processor, and that is what these times show.
  const { median, min, max } = spreadOf(moveMs);
  const [middle, least, most] = [median, min, max].map((ms) => (ms / 1000).toFixed(1));
  console.log(`  one move, ${MOVES_AT_ONCE} at once: ${middle} s (${least} to ${most})`);
  const moves = { name: 'godwit', samples: [movesMs / 1000] };
  const problem = { name: 'godwit', problem: `${failures.length} failures: ${failures[0]}`, failed: true };
  return [
    rowAtMost(START, [startMs / 1000], START_TARGET_S),
    row(MOVES, failures.length === 0 ? moves : problem),
    rowAtMost(MEMORY, [memoryGib], MEMORY_TARGET_GIB),
  ];
}
