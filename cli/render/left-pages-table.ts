/**
 * Which pages rounds did not send when their turn came: those that are free in the guest, and those that `skip`
 * names.
 */
import { countedTrials } from '../../records/counted-trials.ts';
import type { TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { countText, orUnknown } from './measures.ts';
import { tableText } from './table.ts';

const HEADS = ['PAGES', 'SENT', 'SKIPPED', 'FREE', 'REPORTED', 'LEFT OUT', 'REUSED'];

/** A row for each variant, the median over the trials; nothing when no page of any was left. */
export function leftPagesTable(groups: ReadonlyMap<string, readonly TrialRecord[]>): string[] {
  const completed = [...groups].map(([name, trials]) => ({
    name,
    trials: countedTrials(trials),
  }));
  const hasLeft = completed.some(({ trials }) =>
    trials.some((trial) => trial.free_pages !== null || skippedPages(trial) > 0),
  );
  if (!hasLeft) return [];
  const rows = completed.map(({ name, trials }) => row(name, trials));
  return ['', tableText(HEADS, rows, 1)];
}

function row(name: string, trials: readonly TrialRecord[]): string[] {
  const cell = (pick: (trial: TrialRecord) => number | null): string =>
    orUnknown(median(trials.map(pick).filter((value) => value !== null)), countText);
  return [
    name,
    cell(({ normal_pages, zero_pages }) => (normal_pages ?? 0) + (zero_pages ?? 0)),
    cell(skippedPages),
    cell(({ free_pages }) => free_pages?.free_pages ?? null),
    cell(({ free_pages }) => free_pages?.reported_pages ?? null),
    cell(({ free_pages }) => free_pages?.left_out_pages ?? null),
    cell(({ free_pages }) => free_pages?.reused_pages ?? null),
  ];
}

/** Each as often as its turn came in vain. */
function skippedPages({ rounds }: TrialRecord): number {
  return (rounds ?? []).reduce((sum, { skipped_pages }) => sum + (skipped_pages ?? 0), 0);
}
