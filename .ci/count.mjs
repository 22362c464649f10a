/**
 * Adds up what the tests and the checks gave, for .ci/run. A run that ended badly without naming a failure
 * (a crash, a file that does not load, an error outside every test) counts as one failure, so that it
 * cannot pass.
 *
 * Arguments: vitest's JSON report, vitest's exit code, the output of the checks, the exit code of the
 * checks, and report and exit code of vitest's run of the containers.
 */
import { readFileSync } from 'node:fs';

const [testsFile, testsStatus, checksFile, checksStatus, dockerFile, dockerStatus] = process.argv.slice(2);

/** The counts of vitest's JSON report; all zero when it was not written or is cut off. */
function countTests(file) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return counts;
  }
  for (const { status, assertionResults } of report.testResults) {
    const countOf = (wanted) => assertionResults.filter((test) => test.status === wanted).length;
    const [passed, failed] = [countOf('passed'), countOf('failed')];
    counts.passed += passed;
    counts.failed += failed;
    counts.skipped += assertionResults.length - passed - failed;
    // A file that did not load has no failed test of its own.
    if (status === 'failed' && failed === 0) counts.failed += 1;
  }
  return counts;
}

/** The counts of the lines `ok  name` and `FAILED  name` that scripts/check.ts prints. */
function countChecks(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  const countOf = (pattern) => lines.filter((line) => pattern.test(line)).length;
  return { passed: countOf(/^ok {6}\S/), failed: countOf(/^FAILED {2}\S/), skipped: 0 };
}

const tests = countTests(testsFile);
const checks = countChecks(checksFile);
const docker = countTests(dockerFile);
if (tests.failed === 0 && (testsStatus !== '0' || tests.passed === 0)) tests.failed = 1;
if (checks.failed === 0 && (checksStatus !== '0' || checks.passed === 0)) checks.failed = 1;
// All of these may be skipped, where no Docker engine can be run, but each has to be there.
if (docker.failed === 0 && (dockerStatus !== '0' || docker.passed + docker.skipped === 0)) docker.failed = 1;

const sum = (name) => tests[name] + checks[name] + docker[name];
const failed = sum('failed');
console.log(`${sum('passed')} passed, ${failed} failed, ${sum('skipped')} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
