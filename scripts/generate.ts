/**
 * Makes proto/generated from the contracts in proto/godwit. `npm run generate` formats the contracts and
 * writes the code; with `--check` it generates into a temporary folder and fails when the committed code
 * differs.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, runTool } from './tool.ts';

const generatedFolder = join('proto', 'generated');

async function buf(...args: string[]): Promise<void> {
  const { passed, output } = await runTool(['buf', ...args]);
  if (!passed) throw new Error(`buf ${args.join(' ')} failed:\n${output}`);
}

/** The content of every file below a folder, by its path in there; empty when there is no such folder. */
async function contentByPath(folder: string): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  if (!existsSync(folder)) return contents;
  for (const path of (await readdir(folder, { recursive: true })).sort()) {
    if (path.endsWith('.ts')) contents.set(path, await readFile(join(folder, path), 'utf8'));
  }
  return contents;
}

/** The committed files that are missing, superfluous or different from what the contracts give now. */
async function staleFiles(): Promise<string[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'godwit-generate-'));
  try {
    await buf('generate', '--output', scratch);
    const wanted = await contentByPath(join(scratch, generatedFolder));
    const found = await contentByPath(join(root, generatedFolder));
    const paths = new Set([...wanted.keys(), ...found.keys()]);
    return [...paths].filter((path) => wanted.get(path) !== found.get(path));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
if (values.check) {
  const stale = await staleFiles();
  if (stale.length > 0) {
    const list = stale.map((path) => `  ${join(generatedFolder, path)}`).join('\n');
    console.error(`not what the contracts in proto/godwit give; run: npm run generate\n${list}`);
    process.exitCode = 1;
  }
} else {
  await buf('format', '--write');
  await buf('generate');
}
