/** What the command says of pages that were left: nothing, unless some were. */

import { expect, test } from 'vitest';
import { summaryText } from '../../../cli/render/summary.ts';
import type { RoundRecord, TrialRecord } from '../../../records/result-record.ts';
import { emptyTrial } from '../../../records/trial-record.ts';

const trial = (changes: Partial<TrialRecord>): TrialRecord => ({
  ...emptyTrial('pre-copy', 1, 'completed', null),
  ...{ normal_pages: 1000, zero_pages: 24 },
  ...changes,
});
const round = (skipped: number) => ({ skipped_pages: skipped }) as RoundRecord;

test('pages that were skipped and pages that are free are in a table of their own, when there were any', () => {
  const none = trial({ rounds: [round(0)] });
  expect(summaryText([none])).not.toContain('SKIPPED');
  const counts = { free_pages: 900, reported_pages: 1800, left_out_pages: 700, reused_pages: 200 };
  const some = trial({
    variant: 'free-pages=hints',
    rounds: [round(30), round(12)],
    free_pages: { kind: 'hints', ...counts },
  });
  const table = summaryText([none, some]).split('\n').slice(-3);
  expect(table.map((line) => line.trim().split(/\s{2,}/))).toEqual([
    ['PAGES', 'SENT', 'SKIPPED', 'FREE', 'REPORTED', 'LEFT OUT', 'REUSED'],
    ['pre-copy', '1,024', '0', '-', '-', '-', '-'],
    ['pre-copy free-pages=hints', '1,024', '42', '900', '1,800', '700', '200'],
  ]);
});
