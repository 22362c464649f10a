/** `godwit doctor`: whether this machine can run a testbed, and what would be missing. */
import type { Command } from 'commander';
import { type Check, runChecks } from '../doctor-checks.ts';
import { EXIT } from '../exit.ts';
import { printJson } from '../render/json.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
Exit code 0 when local hosts can run here; what only other fabrics need is for information.

Examples:
  godwit doctor
  godwit doctor --json`;

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('say what this machine offers, and what is missing')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(doctor);
}

async function doctor({ json }: { readonly json: boolean }): Promise<void> {
  const checks = await runChecks();
  const able = checks.every(({ ok, needed }) => ok || !needed);
  if (json) printJson({ able, checks });
  else console.log(doctorText(checks, able));
  if (!able) process.exitCode = EXIT.failed;
}

function doctorText(checks: readonly Check[], able: boolean): string {
  const rows = checks.map((check) => [verdict(check), check.name, check.found]);
  const missing = checks.filter(({ ok }) => !ok).map(({ name, remedy }) => `${name}: ${remedy}`);
  const result = able
    ? 'Local hosts can run here: godwit run experiments/quickstart.yaml'
    : 'Local hosts cannot run here.';
  return [tableText(['', 'WHAT', 'FOUND'], rows), '', ...missing, result].join('\n');
}

function verdict({ ok, needed }: Check): string {
  if (ok) return 'ok';
  return needed ? 'MISSING' : 'absent';
}
