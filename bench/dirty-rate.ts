/**
 * Probes of the dirty rate against the truth of every write, and what they cost a guest that has no time to spare: one
 * guest that writes at a rate, and one that writes as fast as it can.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { TestbedClient } from '../experiment/testbed-client.ts';
import { startProcessFabric } from '../fabric/process-fabric.ts';
import { DIRTY_RATE_MODES, type DirtyRateModeName } from '../proto/dirty-rate.ts';
import type { DirtyRateReport } from '../proto/generated/godwit/v1/dirty_rate.ts';
import { parseSpec } from '../spec/parse-spec.ts';
import { inRounds, measured } from './rounds.ts';
import { type Outcome, type Row, row } from './row.ts';

const ROUNDS = 5;
const CALC_TIME_MS = 1000;
const TARGET_PERCENT = 3;
const LEASE_MS = 10_000;
/** Longer than what is compared with as "before". */
const WARM_UP_MS = 2000;
const POLL_MS = 100;

type Probes = { readonly [Name in DirtyRateModeName]: Outcome<DirtyRateReport> };

export async function dirtyRate(roundCount = ROUNDS, memoryMib = 256): Promise<Row[]> {
  const paced = `${memoryMib} MiB, uniform at 20,000 pages/s`;
  const unpaced = `${memoryMib} MiB, hot-cold as fast as it can`;
  const found = await probed(roundCount, memoryMib, '{kind: uniform, rate: 20000 pages/s}');
  const costs = await probed(roundCount, memoryMib, '{kind: hot-cold, rate: unlimited}');
  return DIRTY_RATE_MODES.names.flatMap((mode) => [
    errorRow(`${mode} over 1 s: ${paced}`, found[mode], mode === 'dirty-bitmap'),
    row(
      { work: `${mode} over 1 s: ${unpaced}`, measure: 'lost operations', unit: '%' },
      measured(costs[mode], ({ cost }) => known(cost?.lostPercent)),
    ),
  ]);
}

function errorRow(work: string, found: Outcome<DirtyRateReport>, hasTarget: boolean): Row {
  const error = measured(found, ({ truth }) => Math.abs(known(truth?.errorPercent)));
  const about = { work, measure: 'dirty pages, off the truth by', unit: '%' };
  return row(about, error, hasTarget ? { target: { at_most: TARGET_PERCENT } } : {});
}

function known(value: number | undefined): number {
  if (value === undefined) throw new Error('a probe of a guest that writes said nothing');
  return value;
}

/** All modes in turn, on one guest of a testbed of its own. */
async function probed(roundCount: number, memoryMib: number, workload: string): Promise<Probes> {
  const text = `
name: dirty-rate
warm-up: ${WARM_UP_MS}ms
guest: {memory: ${memoryMib}MiB, workload: ${workload}}
migration: {technique: pre-copy}
`;
  const { guest } = parseSpec(text, 'dirty-rate.yaml');
  const fabric = await startProcessFabric({
    hostCount: 1,
    memoryBytesPerHost: Number(guest.memoryBytes),
    stateFile: ':memory:',
    leaseMs: LEASE_MS,
  });
  const client = new TestbedClient(fabric.coordinatorAddress);
  try {
    await client.createGuest(guest, '');
    await hasRun(client, guest.name);
    const probe = (mode: DirtyRateModeName) => async () => {
      const options = { mode: DIRTY_RATE_MODES.of(mode), calcTimeMs: CALC_TIME_MS, samplePages: 0 };
      return await client.measureDirtyRate(guest.name, options);
    };
    const found = await inRounds(roundCount, {
      'page-sampling': probe('page-sampling'),
      'dirty-bitmap': probe('dirty-bitmap'),
      'dirty-ring': probe('dirty-ring'),
      'working-set': probe('working-set'),
    });
    const { faultCount } = await client.auditGuest(guest.name);
    if (faultCount > 0n) throw new Error(`after the probes the audit found ${faultCount} wrong pages`);
    return found;
  } finally {
    client.close();
    await fabric.close();
  }
}

/** Waits until the guest has run for so long that it is known what it does. */
async function hasRun(client: TestbedClient, guest: string): Promise<void> {
  for (;;) {
    const { series, nowMs } = await client.guestStats(guest, 0);
    if (nowMs - (series?.atMs[0] ?? nowMs) >= WARM_UP_MS) return;
    await sleep(POLL_MS);
  }
}
