/**
 * Installs the packages when they are missing or package-lock.json has changed: the pre script of start,
 * test, check and bench, quick when nothing has changed. Plain JavaScript, because the Node that runs it
 * on a fresh clone may be older than the one the project brings along. `npm install` rather than `npm ci`,
 * which refuses a lock that was written on another platform.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const nodeMajorMin = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, 'node_modules', '.godwit-setup');
const ownNode = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');

/** What the installation depends on: when this changes, it is made anew. */
function fingerprint() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform}-${process.arch}\n`;
}

function isCurrent() {
  return existsSync(ownNode) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === fingerprint();
}

/** @param {string[]} lines what went wrong and what to do */
function fail(...lines) {
  process.stderr.write(`godwit setup: ${lines.join('\n')}\n`);
  process.exit(1);
}

/** Runs one npm command quietly; its output is shown only when it fails. */
function npm(...args) {
  const own = process.env.npm_execpath;
  const isScript = own !== undefined && /\.c?js$/.test(own);
  const [command, first] = isScript ? [process.execPath, [own]] : ['npm', []];
  const run = spawnSync(command, [...first, ...args], {
    cwd: root,
    encoding: 'utf8',
    shell: !isScript && process.platform === 'win32',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (run.status === 0) return;
  const why = run.error ? run.error.message : `exit code ${run.status ?? run.signal}`;
  fail(
    `npm ${args.join(' ')} failed (${why}).`,
    `${run.stdout ?? ''}${run.stderr ?? ''}`.trim(),
    'Check that the npm registry can be reached (npm ping) and that the disk has 1 GB free,',
    'then run the same command again.',
    'When it keeps failing, remove the folder node_modules and run it once more.',
  );
}

/** The major version of the Node in node_modules, or 0 when it does not run. */
function ownNodeMajor() {
  const run = spawnSync(ownNode, ['--version'], { encoding: 'utf8', shell: process.platform === 'win32' });
  return run.status === 0 ? Number.parseInt(run.stdout.slice(1), 10) : 0;
}

function install() {
  process.stderr.write('godwit setup: installing packages (first run, or package-lock.json changed) ...\n');
  npm('install', '--no-audit', '--no-fund', '--loglevel=error', '--include=dev', '--include=optional');
  // A folder filled with scripts switched off holds the `node` package without its binary.
  if (ownNodeMajor() < nodeMajorMin) npm('rebuild', 'node');
  const major = ownNodeMajor();
  if (major < nodeMajorMin) {
    const found = major === 0 ? 'is missing or does not run' : `is Node ${major}`;
    fail(
      `node_modules/.bin/node ${found}; godwit needs Node ${nodeMajorMin} or newer.`,
      'Remove the folder node_modules and run the same command again. npm must be allowed to run install',
      'scripts: `npm config get ignore-scripts` must say false.',
    );
  }
  linkCommand();
  writeFileSync(stampFile, fingerprint());
}

/** Lets `npx godwit` find the command here; npm links the commands of packages, not of the project itself. */
function linkCommand() {
  if (process.platform === 'win32') return;
  const link = join(root, 'node_modules', '.bin', 'godwit');
  rmSync(link, { force: true });
  symlinkSync(join('..', '..', 'cli', 'godwit.mjs'), link);
}

if (!isCurrent()) install();
