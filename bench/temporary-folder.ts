/** A folder that is there while some work is done, and gone afterwards, also when the benchmark is interrupted. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders = new Set<string>();
process.on('exit', () => {
  for (const folder of folders) remove(folder);
});

function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}

export async function inTemporaryFolder<Answer>(work: (folder: string) => Promise<Answer>): Promise<Answer> {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-bench-'));
  folders.add(folder);
  try {
    return await work(folder);
  } finally {
    remove(folder);
  }
}
