/**
 * The `godwit` command: runs the subcommand, and turns whatever it ends with into an exit code and, when it
 * failed, a sentence.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CommanderError } from 'commander';
import { FabricUnavailableError } from '../fabric/fabric.ts';
import { errorText } from '../proto/errors.ts';
import { SpecError } from '../spec/problems.ts';
import { EXIT, UsageError } from './exit.ts';
import { Interrupted } from './interrupts.ts';
import { makeProgram } from './program.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

function exitCodeOf(error: unknown): number {
  // Commander has printed what is wrong; help and version are no errors, but help without a command is.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof Interrupted) return EXIT.interrupted;
  process.stderr.write(`${errorText(error)}\n`);
  const isUsage = [UsageError, SpecError, FabricUnavailableError].some((kind) => error instanceof kind);
  return isUsage ? EXIT.usage : EXIT.failed;
}

// Whoever read our output has gone (`godwit watch | head -1`): there is nobody left to work for.
process.stdout.on('error', () => process.exit(EXIT.failed));
process.stderr.on('error', () => process.exit(EXIT.failed));

try {
  await makeProgram(version).parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
