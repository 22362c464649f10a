/**
 * An experiment's trials as a table: one row for each variant, the median over the trials that
 * count.
 */
import { countedTrials, whyNotCounted } from '../../records/counted-trials.ts';
import type { LinkRecord, PostcopyRecord, TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import { clientTable, worstGapMs } from './client-table.ts';
import { decisionText } from './decision-lines.ts';
import { leftPagesTable } from './left-pages-table.ts';
import { bitsText, bytesText, countText, durationText, orUnknown, percentText, UNKNOWN } from './measures.ts';
import { backgroundTable, estimateTable } from './network-table.ts';
import { predictionNotes, predictionTable } from './prediction-table.ts';
import { tableText } from './table.ts';
import { throttleTable } from './throttle-table.ts';
import { transformTable } from './transform-table.ts';
import { variantText } from './variant-text.ts';

const HEADS = ['TECHNIQUE', 'TRIALS', 'TOTAL TIME', 'DOWNTIME'];
const BYTES_HEADS = ['TRANSFERRED', 'RESENT', 'ROUNDS'];
/** Beside the rounds, where they ended for different reasons. */
const END_HEAD = 'ENDED BY';
const MORE_HEADS = ['DEGRADATION', 'AUDIT'];
/** Beside the downtime, where there were clients. */
const GAP_HEAD = 'CLIENT GAP';

/** Whether a trial did what it was to do, its guest was proven, and clients saw it forget nothing. */
export function succeeded(trial: TrialRecord): boolean {
  return trial.audit !== null && whyNotCounted(trial) === undefined;
}

/** The table, and below it a line for each thing that one has to know about the figures. */
export function summaryText(trials: readonly TrialRecord[]): string {
  const groups = Map.groupBy(trials, variantText);
  const hasClients = trials.some(({ clients }) => clients !== null);
  const hasEnds = endsOf(trials).length > 1;
  const rows = [...groups].map(([name, group]) => row(name, group, hasClients, hasEnds));
  const gapHeads = hasClients ? [GAP_HEAD] : [];
  const heads = [...HEADS, ...gapHeads, ...BYTES_HEADS, ...(hasEnds ? [END_HEAD] : []), ...MORE_HEADS];
  const tables = [
    tableText(heads, rows, 1),
    ...predictionTable(groups),
    ...postcopyTable(groups),
    ...throttleTable(groups),
    ...leftPagesTable(groups),
    ...transformTable(groups),
    ...clientTable(trials),
    ...linkTable(trials),
    ...estimateTable(trials),
    ...backgroundTable(trials),
  ];
  return [...tables, ...notes(trials)].join('\n');
}

const POSTCOPY_HEADS = [
  ...['POST-COPY', 'RESUME TIME', 'MISSING', 'PUSHED', 'DEMANDED', 'FAULTS', 'FAULT P50', 'P99', 'BLOCKTIME'],
  'PER VCPU',
];

/** How the pages came that were missing at the resume, the median over the trials; nothing when none was. */
function postcopyTable(groups: ReadonlyMap<string, readonly TrialRecord[]>): string[] {
  const rows = [...groups].flatMap(([name, trials]) => {
    const records = countedTrials(trials).flatMap(({ postcopy }) => postcopy ?? []);
    return records.length === 0 ? [] : [postcopyRow(name, records)];
  });
  return rows.length === 0 ? [] : ['', tableText(POSTCOPY_HEADS, rows, 1)];
}

function postcopyRow(name: string, records: readonly PostcopyRecord[]): string[] {
  const cell = (pick: (record: PostcopyRecord) => number | null, text: (value: number) => string): string =>
    orUnknown(median(records.map(pick).filter((value) => value !== null)), text);
  return [
    name,
    cell((record) => record.resume_time_ms, durationText),
    cell((record) => record.missing_pages, countText),
    cell((record) => record.pushed_pages, countText),
    cell((record) => record.demanded_pages, countText),
    cell((record) => record.faults, countText),
    cell((record) => record.fault_latency?.p50_ms ?? null, durationText),
    cell((record) => record.fault_latency?.p99_ms ?? null, durationText),
    cell((record) => record.blocktime_ms, durationText),
    cell((record) => Math.max(...record.vcpu_blocktime_ms), durationText),
  ];
}

/** Why rounds ended, each reason once. */
function endsOf(trials: readonly TrialRecord[]): string[] {
  return [...new Set(trials.flatMap(({ convergence }) => convergence ?? []))];
}

function row(name: string, trials: readonly TrialRecord[], hasClients: boolean, hasEnds: boolean): string[] {
  const counted = countedTrials(trials);
  const cell = (pick: (trial: TrialRecord) => number | null, text: (value: number) => string): string =>
    orUnknown(median(counted.map(pick).filter((value) => value !== null)), text);
  const count = counted.length === trials.length ? '' : `${counted.length} of `;
  const guests = new Set(trials.map(({ guest }) => guest)).size;
  return [
    name,
    `${count}${trials.length}${guests > 1 ? ` (${guests} guests)` : ''}`,
    cell((trial) => trial.total_time_ms, durationText),
    cell((trial) => trial.downtime_ms, durationText),
    ...(hasClients ? [cell(worstGapMs, durationText)] : []),
    cell((trial) => trial.transferred_bytes, bytesText),
    cell((trial) => trial.resent_bytes, bytesText),
    cell((trial) => trial.rounds?.length ?? null, String),
    ...(hasEnds ? [endsOf(trials).join(', ') || UNKNOWN] : []),
    cell((trial) => trial.degradation_percent, percentText),
    auditText(trials),
  ];
}

const LINK_HEADS = ['LINK', 'RATE ASKED', 'MEASURED', 'ROUND TRIP ASKED', 'MEASURED', 'OFF BY MORE THAN 3 %'];

/** What was asked of the links and what they carried, the median over the trials; nothing when none was shaped. */
function linkTable(trials: readonly TrialRecord[]): string[] {
  // The records of a trial's guests hold the same measurements.
  const firsts = trials.filter((at, index) => {
    const variant = variantText(at);
    return trials.findIndex((other) => variantText(other) === variant && other.trial === at.trial) === index;
  });
  const links = firsts.flatMap(({ network }) => network?.links ?? []);
  if (links.length === 0) return [];
  const groups = Map.groupBy(links, ({ from, to }) => `${from} to ${to}`);
  return [
    '',
    tableText(
      LINK_HEADS,
      [...groups].map(([name, group]) => linkRow(name, group)),
      1,
    ),
  ];
}

function linkRow(name: string, links: readonly LinkRecord[]): string[] {
  const [first] = links;
  const middle = (pick: (link: LinkRecord) => number): number | null => median(links.map(pick));
  return [
    name,
    first?.asked_rate_bytes_per_s === null ? 'unlimited' : orUnknown(first?.asked_rate_bytes_per_s, bitsText),
    orUnknown(
      middle((link) => link.measured_rate_bytes_per_s),
      bitsText,
    ),
    orUnknown(first?.asked_round_trip_ms, durationText),
    orUnknown(
      middle((link) => link.measured_round_trip_ms),
      durationText,
    ),
    `${links.filter(({ differences }) => differences.length > 0).length} of ${links.length}`,
  ];
}

function auditText(trials: readonly TrialRecord[]): string {
  const audits = trials.flatMap(({ audit }) => audit ?? []);
  const faults = audits.reduce((sum, audit) => sum + audit.fault_count, 0);
  if (faults > 0) return `${countText(faults)} FAULTS`;
  if (audits.length === 0) return UNKNOWN;
  return audits.length === trials.length ? 'clean' : `${audits.length} of ${trials.length} clean`;
}

function notes(trials: readonly TrialRecord[]): string[] {
  const several = new Set(trials.map(({ guest }) => guest)).size > 1;
  return trials.flatMap((trial) => {
    const label = `${variantText(trial)}, trial ${trial.trial}${several ? `, ${trial.guest}` : ''}`;
    const lines: string[] = [];
    if (trial.status !== 'completed')
      lines.push(`${label} ${trial.status}: ${trial.reason ?? 'no reason given'}`);
    else if (trial.reason !== null) lines.push(`${label}: ${trial.reason}`);
    const decided = decisionText(trial);
    if (decided !== undefined) lines.push(`${label}: ${decided}`);
    const { recoveries = 0, paused_ms = 0 } = trial.postcopy ?? {};
    if (recoveries > 0) {
      const often = recoveries === 1 ? 'once' : `${recoveries} times`;
      lines.push(`${label}: connected again ${often}, ${durationText(paused_ms)} without the source`);
    }
    lines.push(...predictionNotes(trial).map((note) => `${label}: ${note}`));
    for (const { protocol, wrong } of trial.clients ?? []) {
      if (wrong > 0)
        lines.push(`${label}: ${countText(wrong)} answers to ${protocol} clients forgot a write`);
    }
    const [first] = trial.audit?.faults ?? [];
    if (first !== undefined) lines.push(`${label}: page ${first.page}: ${first.kind}: ${first.detail}`);
    return lines;
  });
}
