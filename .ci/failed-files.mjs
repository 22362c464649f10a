/**
 * Prints the test files that failed, one a line, for .ci/run to try them again: nothing when none did, or so many that
 * it is no accident.
 *
 * Arguments: vitest's JSON report and its exit code.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const AGAIN_MAX = 4;

const [file, status] = process.argv.slice(2);
let failed = [];
try {
  const { testResults } = JSON.parse(readFileSync(file, 'utf8'));
  failed = testResults.filter((result) => result.status === 'failed').map(({ name }) => relative('.', name));
} catch {
  // No report: nothing is known, and the count says so.
}
if (status !== '0' && failed.length <= AGAIN_MAX) for (const name of failed) console.log(name);
