/**
 * Where an experiment's results go: a folder that is known to be writable before anything runs, and a file in
 * it.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errorText } from '../proto/errors.ts';
import type { ResultRecord } from '../records/result-record.ts';
import { UsageError } from './exit.ts';

const FILE = 'results.json';

export interface ResultsFolder {
  /** Writes the results, so that whoever looks sees either none or all of them. Returns the file's path. */
  write(record: ResultRecord): string;
  /** Takes the folder away when nothing was written to it. */
  removeIfEmpty(): void;
}

/** @throws UsageError when there can be no such folder. */
export function makeResultsFolder(folder: string): ResultsFolder {
  try {
    makeFolders(resolve(folder));
    const probe = join(folder, `.${FILE}.${process.pid}`);
    closeSync(openSync(probe, 'wx'));
    rmSync(probe);
  } catch (error) {
    throw new UsageError(
      `cannot write results to ${folder}: ${errorText(error)}; give a folder that can be written with --out`,
    );
  }
  return {
    write: (record) => writeWhole(folder, `${JSON.stringify(record, undefined, 2)}\n`),
    removeIfEmpty: () => {
      try {
        rmdirSync(folder);
      } catch {
        // It holds something.
      }
    },
  };
}

/** Node's own recursion never ends below a folder that answers ENOENT to every mkdir, as /proc does. */
function makeFolders(folder: string): void {
  if (existsSync(folder)) return;
  makeFolders(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    // Another run may have made it at the same time.
    if (!existsSync(folder)) throw error;
  }
}

/** `results/NAME-DATE`, which does not exist yet. */
export function defaultResultsFolder(name: string): string {
  const date = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  const folder = join('results', `${name}-${date}`);
  let free = folder;
  for (let number = 2; existsSync(free); number++) free = `${folder}-${number}`;
  return free;
}

function writeWhole(folder: string, text: string): string {
  const path = join(folder, FILE);
  const draft = join(folder, `.${FILE}.${process.pid}`);
  const file = openSync(draft, 'w');
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  return path;
}
