/**
 * `npm run check`: format, lint, types and contracts, one tool after the other so that a small machine is
 * not overloaded. Prints one line for each, and a tool's output only when it failed. Another check is one
 * more entry in `steps`.
 */
import { runTool } from './tool.ts';

type Step = { readonly name: string; readonly command: readonly [string, ...string[]] };

const steps: readonly Step[] = [
  { name: 'format and lint (biome)', command: ['biome', 'ci', '--colors=off', '--error-on-warnings', '.'] },
  { name: 'types (tsc)', command: ['tsc', '--noEmit'] },
  { name: 'type-aware lint (oxlint)', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'contracts lint (buf)', command: ['buf', 'lint'] },
  { name: 'contracts format (buf)', command: ['buf', 'format', '--diff', '--exit-code'] },
  { name: 'generated code is current', command: ['node', 'scripts/generate.ts', '--check'] },
  { name: 'JSON schemas are current', command: ['node', 'scripts/schemas.ts', '--check'] },
];

let failed = false;
for (const step of steps) {
  const startedMs = performance.now();
  const { passed, output } = await runTool(step.command);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${passed ? 'ok    ' : 'FAILED'}  ${step.name} (${seconds} s)`);
  if (!passed) {
    failed = true;
    console.log(`${output}\n`);
  }
}
process.exitCode = failed ? 1 : 0;
