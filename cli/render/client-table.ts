/** What clients outside saw of guests that moved, as a table: a row for each variant and protocol. */
import { countedTrials } from '../../records/counted-trials.ts';
import type { ClientRecord, TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { countText, durationText, orUnknown } from './measures.ts';
import { tableText } from './table.ts';
import { variantText } from './variant-text.ts';

const HEADS = [
  ...['CLIENTS', 'GAP', 'GAP - DOWNTIME', 'P50 BEFORE', 'P99 BEFORE', 'P99 DURING', 'P99 AFTER'],
  ...['REQUESTS', 'LOST', 'WRONG', 'RECONNECTS'],
];

/** The longest gap that any of a guest's clients saw, ms; null when there is none. */
export function worstGapMs({ clients }: TrialRecord): number | null {
  const gaps = (clients ?? []).flatMap(({ gap_ms }) => gap_ms ?? []);
  return gaps.length === 0 ? null : Math.max(...gaps);
}

/**
 * The table after an empty line, medians over the trials that count; nothing when there were no
 * clients.
 */
export function clientTable(trials: readonly TrialRecord[]): string[] {
  const seen = countedTrials(trials).flatMap((trial) =>
    (trial.clients ?? []).map((client) => ({ variant: variantText(trial), client })),
  );
  if (seen.length === 0) return [];
  const groups = Map.groupBy(seen, ({ variant, client }) => `${variant}, ${client.protocol}`);
  const rows = [...groups].map(([name, group]) =>
    row(
      name,
      group.map(({ client }) => client),
    ),
  );
  return ['', tableText(HEADS, rows, 1)];
}

function row(name: string, clients: readonly ClientRecord[]): string[] {
  const middle = (pick: (client: ClientRecord) => number | null): string =>
    orUnknown(median(clients.map(pick).filter((value) => value !== null)), durationText);
  const sum = (pick: (client: ClientRecord) => number): string =>
    countText(clients.reduce((total, client) => total + pick(client), 0));
  return [
    name,
    middle((client) => client.gap_ms),
    middle((client) => client.gap_minus_downtime_ms),
    middle((client) => client.latency_ms.before.p50),
    middle((client) => client.latency_ms.before.p99),
    middle((client) => client.latency_ms.during.p99),
    middle((client) => client.latency_ms.after.p99),
    sum((client) => client.sent),
    sum((client) => client.lost),
    sum((client) => client.wrong),
    sum((client) => client.reconnects),
  ];
}
