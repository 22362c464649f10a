/**
 * Runs a spec as users do, `godwit run --json`, and answers its record: a benchmark measures what users get.
 * A trial that did not complete, or whose audit found a fault, is no measurement but an error.
 */

import { writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PATIENCE } from '../proto/deadlines.ts';
import { type ResultRecord, resultRecordSchema, type TrialRecord } from '../records/result-record.ts';
import { Child } from './children.ts';
import type { Move } from './move.ts';
import { inTemporaryFolder } from './temporary-folder.ts';

const GODWIT = join(dirname(dirname(fileURLToPath(import.meta.url))), 'cli', 'godwit.mjs');
const BYTES_PER_MIB = 1024 ** 2;
const RUN_MS_MAX = 30 * 60_000 * PATIENCE;

/** Watches over a run while it lasts. */
export interface RunWatcher {
  /** The run has begun, in this process and its children. */
  started(pid: number): void;
}

/**
 * @throws Error with what went wrong in the first trial that did, or with the command's own message when it
 * did not come to trials
 */
export function runSpec(yaml: string, watcher?: RunWatcher): Promise<ResultRecord> {
  return inTemporaryFolder(async (folder) => {
    const spec = join(folder, 'spec.yaml');
    writeFileSync(spec, yaml);
    const out = ['--out', join(folder, 'out'), '--json'];
    const child = new Child([process.execPath, GODWIT, 'run', spec, ...out]);
    try {
      if (child.pid !== undefined) watcher?.started(child.pid);
      const { text, ending } = await child.output(RUN_MS_MAX);
      if (text === '') throw new Error(`godwit run: ${child.errorText || `exit code ${ending.code}`}`);
      const record = resultRecordSchema.parse(JSON.parse(text));
      for (const trial of record.trials) refuse(trial);
      return record;
    } finally {
      await child.stop();
    }
  });
}

/** Why a spec on this machine cannot have a guest of this size, or undefined: half of its memory is allowed. */
export function sizeProblem(memoryMib: number): string | undefined {
  const neededBytes = memoryMib * 2 * BYTES_PER_MIB;
  if (totalmem() >= neededBytes) return undefined;
  return `a guest of ${memoryMib} MiB needs a machine with ${neededBytes / BYTES_PER_MIB} MiB`;
}

/** The migrations of a spec's trials, one after the other. */
export async function movesOf(yaml: string): Promise<Move[]> {
  return (await runSpec(yaml)).trials.map(moveOf);
}

function moveOf({ total_time_ms, downtime_ms, transferred_bytes }: TrialRecord): Move {
  if (total_time_ms === null || downtime_ms === null || transferred_bytes === null) {
    throw new Error('a completed trial has no times or no bytes');
  }
  return {
    totalMs: total_time_ms,
    downtimeMs: downtime_ms,
    bytesPerS: (transferred_bytes / total_time_ms) * 1000,
  };
}

/** @throws Error when a trial proves nothing */
function refuse({ trial, status, reason, audit }: TrialRecord): void {
  if (status !== 'completed') throw new Error(`trial ${trial} ${status}: ${reason ?? 'no reason was given'}`);
  if (audit === null) throw new Error(`trial ${trial} was not audited`);
  if (audit.fault_count > 0) {
    throw new Error(`trial ${trial}: the audit found ${audit.fault_count} pages that are wrong`);
  }
}
