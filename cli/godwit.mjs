#!/usr/bin/env node
/**
 * The `godwit` command. godwit needs Node 24, which it brings along as a package: under an older Node this
 * file runs itself again with that one, and passes on signals and the exit code. Plain JavaScript that old
 * Nodes read.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const nodeMajorMin = 24;
const file = fileURLToPath(import.meta.url);

if (Number.parseInt(process.versions.node, 10) >= nodeMajorMin) {
  await import('./main.ts');
} else {
  const ownNode = join(dirname(dirname(file)), 'node_modules', '.bin', 'node');
  if (!existsSync(ownNode)) {
    process.stderr.write(
      `godwit needs Node ${nodeMajorMin} or newer, this is ${process.versions.node}, ` +
        `and ${ownNode} is missing.\n` +
        'Run `npm install` in the folder of godwit, which brings a newer Node along.\n',
    );
    process.exit(2);
  }
  // Through the channel the command notices when this process is killed.
  const stdio = ['inherit', 'inherit', 'inherit', 'ipc'];
  const child = spawn(ownNode, [file, ...process.argv.slice(2)], { stdio });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`godwit: ${ownNode} does not run: ${error.message}\n`);
    process.exit(2);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
