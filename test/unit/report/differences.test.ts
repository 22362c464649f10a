/** What became of a measure between two runs, in figures, in words, and from the command line. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { UsageError } from '../../../cli/exit.ts';
import { makeProgram } from '../../../cli/program.ts';
import { changesBetween, pairedDifferencesOf, VERDICT, verdictText } from '../../../report/differences.ts';
import { studyOf } from '../../../report/study.ts';
import { leastP } from '../../../statistics/wilcoxon.ts';
import { madeResults, madeTrial } from '../../support/study-results.ts';

const before = studyOf(madeResults(9));

/** The words about the downtime of pre-copy between `before` and another study. */
function words(after: ReturnType<typeof studyOf>): string {
  const found = changesBetween(before, after).find(
    ({ variant, measure }) => variant === 'pre-copy' && measure.key === 'downtime_ms',
  );
  return verdictText(found!);
}

describe('between two runs', () => {
  test('a longer downtime is said with its interval and both counts', () => {
    expect(words(studyOf(madeResults(9, 1.4)))).toMatch(/^40 % longer downtime, CI \d+\.\.\d+ %, n=9\/9$/);
    expect(words(studyOf(madeResults(9, 0.6)))).toMatch(/^40 % shorter downtime, CI -\d+\.\.-\d+ %, n=9\/9$/);
  });

  test('the same run differs in nothing', () => {
    const verdicts = new Set(changesBetween(before, before).map(({ verdict }) => verdict));
    expect([...verdicts]).toEqual([VERDICT.same]);
    expect(words(before)).toMatch(/^no difference in downtime shown, CI .*, n=9\/9$/);
  });

  test('from nothing to something is a difference, though it is no share', () => {
    const results = madeResults(9);
    const trials = results.trials.map((trial) => ({ ...trial, resent_bytes: 2 ** 21 + trial.trial * 1024 }));
    const found = changesBetween(before, studyOf({ ...results, trials })).find(
      ({ variant, measure }) => variant === 'post-copy' && measure.key === 'resent_bytes',
    )!;
    expect(found).toMatchObject({ change: null, verdict: VERDICT.more });
    expect(verdictText(found)).toBe('2.00 MiB more bytes resent, CI 2.00 MiB..2.01 MiB, n=9/9');
  });

  test('of one trial nothing is judged', () => {
    expect(words(studyOf(madeResults(1, 3)))).toMatch(/but n=9\/1 is too few to judge$/);
  });

  test('a variant that only one of them has is not compared', () => {
    const after = studyOf({ ...madeResults(2), trials: [madeTrial('pre-copy', 1), madeTrial('warp', 1)] });
    expect(new Set(changesBetween(before, after).map(({ variant }) => variant))).toEqual(
      new Set(['pre-copy']),
    );
  });
});

describe('within a run', () => {
  test('techniques are compared trial by trial, in pairs, with the least p that so many can have', () => {
    const found = pairedDifferencesOf(before).find(
      ({ first, second, measure }) =>
        first.name === 'stop-and-copy' && second.name === 'pre-copy' && measure.key === 'downtime_ms',
    )!;
    expect(found).toMatchObject({ pairs: 9, delta: -1 });
    expect(found.shift).toBeLessThan(-500);
    expect(found.interval![1]).toBeLessThan(-500);
    // Six pairs of techniques are tested at once.
    expect(found.p).toBeGreaterThanOrEqual(leastP(9));
    expect(found.p).toBeLessThanOrEqual(6 * leastP(9));
  });

  test('a pair of which one trial does not count is left out', () => {
    const results = madeResults(9);
    const trials = results.trials.map((trial) =>
      trial.technique === 'pre-copy' && trial.trial === 4 ? { ...trial, status: 'failed' as const } : trial,
    );
    const pairs = pairedDifferencesOf(studyOf({ ...results, trials })).map(
      ({ first, second, pairs: count }) => {
        return [first, second].some(({ name }) => name === 'pre-copy') ? count === 8 : count === 9;
      },
    );
    expect(pairs.every(Boolean)).toBe(true);
  });
});

describe('the command', () => {
  let folder: string;
  let printed: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'godwit-report-'));
    printed = '';
    vi.spyOn(console, 'log').mockImplementation((text: string) => {
      printed += `${text}\n`;
    });
  });

  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true, force: true });
  });

  const write = (name: string, value: unknown): string => {
    const file = join(folder, name);
    writeFileSync(file, JSON.stringify(value));
    return file;
  };
  const run = (...args: string[]) => makeProgram('0.1.0').parseAsync(args, { from: 'user' });

  test('report writes a page, its figures, and the spec that runs it again', async () => {
    write('results.json', madeResults(2));
    await run('report', folder, '--png');
    expect(printed).toContain(join(folder, 'report', 'index.html'));
    expect(readFileSync(join(folder, 'report', 'index.html'), 'utf8')).toMatch(/^<!doctype html>/);
    expect(readFileSync(join(folder, 'report', 'spec.yaml'), 'utf8')).toContain('memory: 32MiB');
    const png = readFileSync(join(folder, 'report', 'bytes.png'));
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect(existsSync(join(folder, 'report', 'bytes.svg'))).toBe(true);
  });

  test('report --out puts the page where it is wanted', async () => {
    write('results.json', madeResults(1));
    await run('report', folder, '--out', join(folder, 'deep', 'page.html'));
    expect(existsSync(join(folder, 'deep', 'page.html'))).toBe(true);
  });

  test('compare prints words, and JSON for programs', async () => {
    const files = [write('a.json', madeResults(9)), write('b.json', madeResults(9, 1.4))] as const;
    await run('compare', ...files);
    expect(printed).toMatch(/pre-copy +downtime .*large +40 % longer downtime, CI /);
    printed = '';
    await run('compare', ...files, '--json');
    const { changes } = JSON.parse(printed) as { changes: { measure: string; verdict: string }[] };
    expect(changes.find(({ measure }) => measure === 'downtime_ms')?.verdict).toBe('more');
  });

  test.each(['report', 'compare'])('%s of what is no results says what it wants', async (command) => {
    const file = write('x.json', { hello: 1 });
    const args = command === 'compare' ? [file, file] : [file];
    await expect(run(command, ...args)).rejects.toThrow(UsageError);
    await expect(run(command, ...args)).rejects.toThrow(/holds no results of godwit.*godwit run/);
    const absent = join(folder, 'absent');
    await expect(run(command, ...args.map(() => absent))).rejects.toThrow(/cannot read .*absent.*godwit run/);
  });
});
