/**
 * Adds up what the tests and the checks gave, for .ci/run. A run that ended badly without naming a failure
 * (a crash, a file that does not load, an error outside every test) counts as one failure, so that it
 * cannot pass. Above the counts it says once more what failed and why, and what was skipped: whoever reads only the
 * end of a long log has it there.
 *
 * Arguments: for each run of tests vitest's JSON report and its exit code, then the output of the checks and their
 * exit code.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/** So much of an error is repeated. */
const ERROR_LINES_MAX = 12;

/** A failure or a skip, in words. */
const remarks = [];

function remark(what, name, errors) {
  const lines = errors
    .flatMap((error) => stripVTControlCharacters(error).split('\n'))
    .slice(0, ERROR_LINES_MAX);
  remarks.push(`${what}: ${name}`, ...lines.map((line) => `    ${line}`));
}

/** The files of vitest's JSON report; none when it was not written or is cut off. */
function filesOf(report) {
  try {
    return JSON.parse(readFileSync(report, 'utf8')).testResults;
  } catch {
    return [];
  }
}

/** The counts of a report. Of files that were run again (see .ci/run) the second try counts. */
function countTests(report) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const again = new Map(filesOf(report.replace(/json$/, 'again.json')).map((file) => [file.name, file]));
  for (const first of filesOf(report)) {
    const second = again.get(first.name);
    if (second !== undefined) countFile(first, 'FAILED AT FIRST', { passed: 0, failed: 0, skipped: 0 });
    countFile(second ?? first, 'FAILED', counts);
  }
  return counts;
}

/** Adds what one file gave to `counts`, and to the remarks. */
function countFile({ name: path, status, message, assertionResults }, what, counts) {
  const name = relative('.', path);
  const failed = assertionResults.filter((test) => test.status === 'failed');
  const passed = assertionResults.filter((test) => test.status === 'passed');
  const skipped = assertionResults.length - passed.length - failed.length;
  counts.passed += passed.length;
  counts.failed += failed.length;
  counts.skipped += skipped;
  for (const { fullName, failureMessages } of failed) remark(what, `${name}: ${fullName}`, failureMessages);
  // A file that did not load, or whose hook failed, has no failed test of its own.
  if (status === 'failed' && failed.length === 0) {
    counts.failed += 1;
    remark(what, `${name}: the file itself, or a hook in it`, [message]);
  }
  if (skipped > 0) remark('SKIPPED', `${name}: ${skipped} of ${assertionResults.length} tests`, []);
}

/** The counts of the lines `ok  name` and `FAILED  name` that scripts/check.ts prints. */
function countChecks(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  const countOf = (pattern) => lines.filter((line) => pattern.test(line)).length;
  return { passed: countOf(/^ok {6}\S/), failed: countOf(/^FAILED {2}\S/), skipped: 0 };
}

/** A run has to be there: all of its tests may be skipped, where the machine cannot do them, but not be missing. */
function withVerdict(counts, status) {
  const isThere = counts.passed + counts.skipped > 0;
  if (counts.failed === 0 && (status !== '0' || !isThere)) counts.failed = 1;
  return counts;
}

const files = process.argv.slice(2);
const all = [];
for (let index = 0; index < files.length; index += 2) {
  const [file, status] = [files[index], files[index + 1]];
  all.push(withVerdict(file.endsWith('.json') ? countTests(file) : countChecks(file), status));
}
const sum = (name) => all.reduce((total, counts) => total + counts[name], 0);
const failed = sum('failed');
for (const line of remarks) console.log(line);
console.log(`${sum('passed')} passed, ${failed} failed, ${sum('skipped')} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
