/**
 * Where an experiment's results go, and where they are found: a folder that is known to be writable before
 * anything runs, and a file in it.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errorText } from '../proto/errors.ts';
import { type OpenedResults, RESULTS_BYTES_MAX, ResultsError, readResults } from '../records/read-results.ts';
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

/** The file of results that a user names by itself or by its folder. */
export function resultsPath(path: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? join(path, FILE) : path;
}

/** @throws UsageError when there is no such file, or it holds no results that this version can read. */
export function openResults(path: string, version: string): OpenedResults {
  const file = resultsPath(path);
  try {
    const { size } = statSync(file);
    if (size > RESULTS_BYTES_MAX) {
      throw new ResultsError(`${file} has ${size} bytes; at most ${RESULTS_BYTES_MAX} can be read at once`);
    }
    return readResults(readFileSync(file, 'utf8'), file, version);
  } catch (error) {
    if (error instanceof ResultsError) throw new UsageError(error.message);
    throw new UsageError(
      `cannot read ${file}: ${errorText(error)}; give the folder that \`godwit run\` wrote`,
    );
  }
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
