/** Runs a spec as users do, `godwit run --json`, and answers its record: a benchmark measures what users get. */

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type ResultRecord, resultRecordSchema } from '../records/result-record.ts';

const GODWIT = join(dirname(dirname(fileURLToPath(import.meta.url))), 'cli', 'godwit.mjs');
const OUTPUT_BYTES_MAX = 512 * 1024 * 1024;

/** @throws Error with the command's own message when the run failed. */
export async function runSpec(yaml: string): Promise<ResultRecord> {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-bench-'));
  try {
    const spec = join(folder, 'spec.yaml');
    writeFileSync(spec, yaml);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [GODWIT, 'run', spec, '--out', join(folder, 'out'), '--json'],
      { maxBuffer: OUTPUT_BYTES_MAX },
    );
    return resultRecordSchema.parse(JSON.parse(stdout));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
