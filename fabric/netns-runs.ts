/**
 * Whose network namespaces are whose. Each run has names of its own, `godwit-OWNER-NUMBER-PART`, where OWNER is
 * the process that began it: its pid and its start time, so that a later process with the same pid is another
 * one. What carries the name of a process that is gone is a leftover.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { NamespaceKeeper } from './namespace-keeper.ts';

const NAMESPACES = '/run/netns';
const SOCKETS = '/run';
const NAME = /^godwit-((\d+)-([0-9a-z]+)-\d+)[-.]/;

let runCount = 0;

/** A name for a new run of this process. */
export function newRun(): string {
  return `${process.pid}-${startTime(process.pid)}-${++runCount}`;
}

/** The name of one of a run's namespaces. */
export function namespaceName(run: string, part: string): string {
  return `godwit-${run}-${part}`;
}

/** The file of the socket on which a run's coordinator answers this machine. */
export function socketPath(run: string): string {
  return `${SOCKETS}/godwit-${run}.sock`;
}

/** The run whose coordinator answers at "unix:path", or undefined when it is no run's. */
export function runOfSocket(address: string): string | undefined {
  return /^unix:\/run\/godwit-([^/]+)\.sock$/.exec(address)?.[1];
}

export interface Leftovers {
  /** Runs whose owner is gone; nothing is left of them now. */
  readonly removed: readonly string[];
  /** Runs whose owner is alive. */
  readonly alive: readonly string[];
}

/**
 * Removes the namespaces and sockets of runs whose owner is gone; never those of one that is alive. What
 * somebody else removes meanwhile is no error.
 * @throws Error with the ip command and its answer
 */
export async function removeLeftovers(): Promise<Leftovers> {
  const runs = new Map<string, boolean>();
  for (const name of [...namesIn(NAMESPACES), ...namesIn(SOCKETS)]) {
    const [, run, pid, start] = NAME.exec(name) ?? [];
    if (run !== undefined) runs.set(run, startTime(Number(pid)) === start);
  }
  const named = (alive: boolean): string[] => [...runs.keys()].filter((run) => runs.get(run) === alive);
  const removed = named(false);
  for (const run of removed) await NamespaceKeeper.start(run).close();
  return { removed, alive: named(true) };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // Nobody has made a namespace since the machine was started.
    return [];
  }
}

/** When a process was started, in ticks since boot (proc(5), field 22), or undefined when there is none. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; the fields after it count from the third.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return Number(ticks).toString(36);
  } catch {
    return undefined;
  }
}
