/** What host processes take of the machine's memory: without guests, and beside their guest while it moves. */

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProcessFabric } from '../fabric/process-fabric.ts';
import { inRounds } from './rounds.ts';
import { type Row, row, rowAtMost } from './row.ts';
import { runSpec, sizeProblem } from './run-spec.ts';

const HOSTS = 3;
const IDLE_TARGET_MIB = 120;
/** By then the threads that a host keeps ready have started, which are most of it. */
const SETTLED_MS = 5000;
const LEASE_MS = 10_000;
const ROUNDS = 3;
const MOVED_MIB = 4096;
const MOVING_TARGET_MIB = 150;
const SAMPLE_EVERY_MS = 100;
/** A mapping's rights, size and resident part, of smaps (proc(5)). */
const MAPPING = /^[0-9a-f]+-[0-9a-f]+ (\S+) .*\nSize:\s+(\d+) kB$[\s\S]*?^Rss:\s+(\d+) kB$/gm;
/** The system joins neighbouring mappings: those of a guest's ledger, page table and the like are of some MiB. */
const MAPPING_SLACK_KIB = 64 * 1024;
const HOST_SCRIPT = 'hosts/main.ts';
const KIB_PER_MIB = 1024;

function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} does not say how much memory it has`);
  return Number(kib) / KIB_PER_MIB;
}

async function idleRow(): Promise<Row> {
  const fabric = await startProcessFabric({
    hostCount: HOSTS,
    memoryBytesPerHost: 1024 ** 3,
    stateFile: ':memory:',
    leaseMs: LEASE_MS,
  });
  try {
    await sleep(SETTLED_MS);
    const values = fabric.hosts().map(({ pid }) => residentMib(pid));
    const about = { work: 'a registered host without guests', measure: 'resident memory', unit: 'MiB' };
    return rowAtMost(about, values, IDLE_TARGET_MIB);
  } finally {
    await fabric.close();
  }
}

/** The processes that a process has started and that run this script. */
function childrenOf(parent: number, script: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const isOne = (pid: string): boolean => {
    const isChild = new RegExp(`^PPid:\\s+${parent}$`, 'm').test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return isChild && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(script);
  };
  return pids.filter((pid) => ifAlive(() => isOne(pid)) === true).map(Number);
}

/** Processes end at any time, also between two looks at them. */
function ifAlive<Answer>(look: () => Answer): Answer | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/**
 * What a host has in memory beside its guest, in MiB; undefined while it has no guest. The guest's memory is a
 * mapping of its size, or little more; what V8 reserves is larger, and nobody may write to it.
 */
function besideGuestMib(pid: number, guestMib: number): number | undefined {
  const guestKib = guestMib * KIB_PER_MIB;
  const smaps = readFileSync(`/proc/${pid}/smaps`, 'utf8');
  let totalKib = 0;
  let ofGuestKib: number | undefined;
  for (const [, rights, size, resident] of smaps.matchAll(MAPPING)) {
    totalKib += Number(resident);
    const beyondKib = Number(size) - guestKib;
    if (rights !== 'rw-p' || beyondKib < 0 || beyondKib > MAPPING_SLACK_KIB) continue;
    ofGuestKib = Math.max(ofGuestKib ?? 0, Math.min(guestKib, Number(resident)));
  }
  return ofGuestKib === undefined ? undefined : (totalKib - ofGuestKib) / KIB_PER_MIB;
}

/** The most that either host had beside the guest while both had it: from the order to the source's release. */
async function mostBesideGuestMib(guestMib: number): Promise<number> {
  let mostMib = 0;
  let timer: NodeJS.Timeout | undefined;
  const sample = (runPid: number): void => {
    const hosts = childrenOf(runPid, HOST_SCRIPT);
    const samples = hosts.map((pid) => ifAlive(() => besideGuestMib(pid, guestMib)));
    const known = samples.filter((mib) => mib !== undefined);
    if (known.length === 2) mostMib = Math.max(mostMib, ...known);
  };
  try {
    await runSpec(
      `
name: footprint
guest: {memory: ${guestMib}MiB, workload: {kind: idle}}
migration: {technique: pre-copy}
`,
      {
        started: (pid) => {
          timer = setInterval(() => sample(pid), SAMPLE_EVERY_MS);
        },
      },
    );
  } finally {
    clearInterval(timer);
  }
  if (mostMib === 0) throw new Error('the hosts were not seen while the guest moved');
  return mostMib;
}

async function movingRow(roundCount: number, guestMib: number): Promise<Row> {
  const about = {
    work: `either host while an idle guest of ${guestMib} MiB moves`,
    measure: 'resident memory beside the guest',
    unit: 'MiB',
  };
  const target = { at_most: MOVING_TARGET_MIB };
  const problem = sizeProblem(guestMib);
  if (problem !== undefined) return row(about, { name: 'godwit', problem, failed: false }, { target });
  const found = await inRounds(roundCount, { godwit: () => mostBesideGuestMib(guestMib) });
  return row(about, found.godwit, { target });
}

export async function footprint(roundCount = ROUNDS, guestMib = MOVED_MIB): Promise<Row[]> {
  return [await idleRow(), await movingRow(roundCount, guestMib)];
}
