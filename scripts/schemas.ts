/**
 * Writes the JSON schemas in docs/schema from the zod schemas that the program itself uses; with `--check`
 * it fails when the committed ones differ.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resultsJsonSchema } from '../records/result-record.ts';
import { specJsonSchema } from '../spec/json-schema.ts';
import { root, runTool } from './tool.ts';

const schemas = {
  'docs/schema/spec.schema.json': specJsonSchema(),
  'docs/schema/results.schema.json': resultsJsonSchema(),
};

/** A committed schema without its layout, which is the formatter's business; undefined if there is none. */
async function committed(path: string): Promise<string | undefined> {
  const text = await readFile(join(root, path), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : JSON.stringify(JSON.parse(text));
}

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
for (const [path, schema] of Object.entries(schemas)) {
  if (!values.check) {
    await writeFile(join(root, path), JSON.stringify(schema));
  } else if ((await committed(path)) !== JSON.stringify(schema)) {
    console.error(`${path} is not what the program's own schema gives; run: node scripts/schemas.ts`);
    process.exitCode = 1;
  }
}
if (!values.check) {
  const { passed, output } = await runTool(['biome', 'format', '--write', 'docs/schema']);
  if (!passed) throw new Error(`biome format docs/schema failed:\n${output}`);
}
