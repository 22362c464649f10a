/** What a migration that was predicted teaches: its terms as they were measured, beside their formulas. */

import type { MigrationReport } from '../proto/generated/godwit/v1/migration.ts';
import type { PredictionBasis } from '../proto/generated/godwit/v1/prediction.ts';
import { TECHNIQUES, type Technique } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { type Calibration, formulas, learned, PUSH_START_MS, type Terms } from './calibration.ts';
import { leftOut } from './left-out.ts';
import { linkBytesPerS, ROUND_MS } from './predictor.ts';

const MS_PER_S = 1000;
/** A round or a push that was shorter says more of threads than of the link. */
const LINK_MS_MIN = 100;

/**
 * The calibration after a migration; as before when it was not predicted, did not come to its end, or did what
 * predictions do not reckon with.
 */
export function taught(calibration: Calibration, report: MigrationReport): Calibration {
  const { prediction, options, sourceReport, destinationReport } = report;
  const basis = prediction?.basis;
  const technique = TECHNIQUES.find((name) => name === options?.technique);
  const isOver = (sourceReport?.freedAtMs ?? 0) > 0 && (destinationReport?.resumedAtMs ?? 0) > 0;
  if (basis === undefined || technique === undefined || !isOver) return calibration;
  if (leftOut(options!) !== '') return calibration;
  const { expected, measured } = lesson(technique, report, basis);
  return learned(calibration, technique, expected, measured);
}

function lesson(
  technique: Technique,
  report: MigrationReport,
  basis: PredictionBasis,
): { readonly expected: Terms; readonly measured: Terms } {
  const source = report.sourceReport!;
  const destination = report.destinationReport!;
  const options = report.options!;
  const memoryBytes = Number(basis.pageCount) * PAGE_BYTES;
  const roundMs = ROUND_MS + basis.roundTripMs;
  const expected = formulas(technique, { memoryBytes, roundTripMs: basis.roundTripMs });
  const bytesPerS = linkBytesPerS(basis.bandwidthBytesPerS, options);
  const live = source.rounds.filter(({ final }) => !final);
  const first = live[0];
  const last = live.at(-1);
  const begunMs = first?.startMs ?? source.setupDoneAtMs;
  const readyMs = last === undefined ? source.setupDoneAtMs : last.startMs + last.durationMs;
  const resumedMs = destination.resumedAtMs + destination.clockOffsetMs;
  const completeMs = (destination.postcopy?.completeAtMs ?? 0) + destination.clockOffsetMs;
  const endMs = Math.max(resumedMs, destination.postcopy === undefined ? 0 : completeMs);
  const bytes = live.reduce((sum, { sentBytes }) => sum + Number(sentBytes), 0);
  const liveMs = live.reduce((sum, { durationMs }) => sum + durationMs - roundMs, 0);
  const pushedBytes = Number(source.postcopy?.sentBytes ?? 0n);
  const pushMs = endMs - resumedMs - PUSH_START_MS;
  const pausedMs = resumedMs - source.parkedAtMs - (Number(source.downtimeBytes) / bytesPerS) * MS_PER_S;
  const { faults = 0n, blocktimeMs = 0 } = destination.postcopy ?? {};
  // Under a limit it says nothing of the link.
  const ratio = (sent: number, ms: number, limit: number): number | undefined =>
    limit > 0 || ms < LINK_MS_MIN ? undefined : ((sent / ms) * MS_PER_S) / bytesPerS;
  return {
    expected,
    measured: {
      setup: begunMs - source.acceptedAtMs,
      link: ratio(bytes, liveMs, options.maxBandwidthBytesPerS),
      push: ratio(pushedBytes, pushMs, options.maxPostcopyBandwidthBytesPerS),
      lead: source.parkedAtMs - readyMs,
      // Of a pause that is all copying the rest cannot be told.
      pause: technique === 'stop-and-copy' ? undefined : pausedMs,
      tail: Math.max(source.freedAtMs, endMs) - endMs,
      fault: faults === 0n ? undefined : blocktimeMs / Number(faults),
    },
  };
}
