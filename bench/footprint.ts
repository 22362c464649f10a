/** What a host process without guests takes of the machine's memory. */

import { readFileSync } from 'node:fs';
import { startProcessFabric } from '../fabric/process-fabric.ts';
import { type Row, rowAtMost } from './row.ts';

const HOSTS = 3;
const TARGET_MIB = 120;
const LEASE_MS = 10_000;

function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} does not say how much memory it has`);
  return Number(kib) / 1024;
}

export async function footprint(): Promise<Row[]> {
  const fabric = await startProcessFabric({
    hostCount: HOSTS,
    memoryBytesPerHost: 1024 ** 3,
    stateFile: ':memory:',
    leaseMs: LEASE_MS,
  });
  try {
    const values = fabric.hosts().map(({ pid }) => residentMib(pid));
    const about = { work: 'a registered host without guests', measure: 'resident memory', unit: 'MiB' };
    return [rowAtMost(about, values, TARGET_MIB)];
  } finally {
    await fabric.close();
  }
}
