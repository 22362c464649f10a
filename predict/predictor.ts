/**
 * What a technique is expected to take, from a probe of guest and link: total time, downtime, bytes and
 * degradation, each with its error band. A prediction is the engine's own course replayed (round-loop.ts) with what a
 * migration costs besides its pages (calibration.ts). Its band is what the replay gives when the link, the guest and
 * the machine are as far off as they may be, and what replays have been off besides.
 */

import {
  Compression,
  Encryption,
  type MigrationOptions,
  OnTimeout,
} from '../proto/generated/godwit/v1/migration.ts';
import type { PredictedValue, TechniquePrediction } from '../proto/generated/godwit/v1/prediction.ts';
import type { Technique } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { transformsOf } from '../proto/transforms.ts';
import { type Calibration, formulas, PUSH_START_MS, TERMS, type Term } from './calibration.ts';
import type { DirtyCurve } from './dirty-curve.ts';
import { postCopyPart } from './late-pages.ts';
import { leftOut } from './left-out.ts';
import { type Replay, replayRounds } from './round-loop.ts';

/** What a prediction is made from. */
export interface Probed {
  readonly pageCount: number;
  /** Of all pages, those of zeroes. */
  readonly zeroShare: number;
  /** What lz4 leaves of the others. */
  readonly compressedShare: number;
  readonly deviceStateBytes: number;
  readonly written: DirtyCurve;
  /** Pages that are read or written, for each that is written. */
  readonly accessedPerWritten: number;
  /** What the guest needs of its time; 1 when it runs as fast as it can. */
  readonly busyShare: number;
  readonly bytesPerS: number;
  readonly roundTripMs: number;
  /** How far off the bandwidth may be, as a share. */
  readonly bandwidthError: number;
}

/** Bytes of a page with its share of heads, and of a page that goes as a mark. */
const WIRE_PAGE_BYTES = PAGE_BYTES + 5;
const WIRE_ZERO_BYTES = 0.1;
/** What goes besides pages: greetings, the ends of rounds, the ledger's digest. */
const OTHER_BYTES = 4096;
/** A round ends when the destination has said so; threads wake at both ends. */
export const ROUND_MS = 1.2;
const MS_PER_S = 1000;
const PERCENT = 100;

/** What the mover gets out of guest memory and into guest memory, sealed and in the clear. */
const MOVER_BYTES_PER_S = { sealed: 600_000_000, plain: 1_000_000_000 } as const;

/** What is left when everything else is right, as a share, and at least so much: the calibration's residuals. */
const RESIDUALS = {
  totalTimeMs: { share: 0.04, least: 15 },
  downtimeMs: { share: 0.1, least: 2 },
  transferredBytes: { share: 0.01, least: 65_536 },
  degradationPercent: { share: 0.25, least: 2 },
} as const;
/** However far off single migrations were that taught it: a link that carries nothing is no prediction. */
const BANDWIDTH_ERROR_MAX = 0.8;
/** A sample of pages compresses as all of them do, more or less. */
const COMPRESSION_ERROR = 0.08;
type Measure = keyof typeof RESIDUALS;
const MEASURES = Object.keys(RESIDUALS) as Measure[];

const MOST: Readonly<Record<Measure, number>> = {
  totalTimeMs: Number.POSITIVE_INFINITY,
  downtimeMs: Number.POSITIVE_INFINITY,
  transferredBytes: Number.POSITIVE_INFINITY,
  degradationPercent: PERCENT,
};

/** One course that the migration may take. */
interface Course {
  readonly values: Readonly<Record<Measure, number>>;
  readonly rounds: number;
  readonly convergence: string;
}

/** How a course differs from the expected one: by these factors. */
interface Deviation {
  readonly bandwidth: number;
  readonly written: number;
  readonly overheads: number;
}
const EXPECTED: Deviation = { bandwidth: 1, written: 1, overheads: 1 };

/**
 * @param parameters what tells these options from what was asked for, in words
 * @param calibration what earlier migrations taught
 */
export function predictTechnique(
  probed: Probed,
  options: MigrationOptions,
  calibration: Calibration,
  parameters = '',
): TechniquePrediction {
  const expected = course(probed, options, calibration, EXPECTED);
  const technique = options.technique as Technique;
  const factors = calibration[technique];
  const bandwidth = Math.min(probed.bandwidthError + factors.link.spread, BANDWIDTH_ERROR_MAX);
  const longestRoundMs = ((probed.pageCount * PAGE_BYTES) / probed.bytesPerS) * MS_PER_S;
  const written = probed.written.errorShare(longestRoundMs);
  const overheads = Math.max(factors.setup.spread, factors.pause.spread);
  const worst = { bandwidth: 1 - bandwidth, written: 1 + written, overheads: 1 + overheads };
  const best = { bandwidth: 1 + bandwidth, written: 1 / (1 + written), overheads: 1 / (1 + overheads) };
  const courses = [
    { ...EXPECTED, bandwidth: worst.bandwidth },
    { ...EXPECTED, bandwidth: best.bandwidth },
    { ...EXPECTED, written: worst.written },
    { ...EXPECTED, written: best.written },
    worst,
    best,
  ].map((deviation) => course(probed, options, calibration, deviation));
  const value = (measure: Measure): PredictedValue => {
    const all = [expected, ...courses].map(({ values }) => values[measure]);
    const { share, least } = RESIDUALS[measure];
    const more = isCompressed(options) ? COMPRESSION_ERROR : 0;
    const margin = Math.max(least, expected.values[measure] * (share + more));
    const low = Math.max(0, Math.min(...all) - margin);
    const high = Math.min(MOST[measure], Math.max(...all) + margin);
    return { value: expected.values[measure], low, high };
  };
  const [totalTimeMs, downtimeMs, transferredBytes, degradationPercent] = MEASURES.map(value);
  return {
    technique,
    parameters,
    totalTimeMs,
    downtimeMs,
    transferredBytes,
    degradationPercent,
    rounds: expected.rounds,
    convergence: expected.convergence,
    leftOut: leftOut(options),
  };
}

type Milliseconds = Readonly<Record<Term, number>>;

function terms(probed: Probed, technique: Technique, calibration: Calibration, by: number): Milliseconds {
  const setting = { memoryBytes: probed.pageCount * PAGE_BYTES, roundTripMs: probed.roundTripMs };
  const formula = formulas(technique, setting);
  const factors = calibration[technique];
  const isTime = (term: Term): boolean => term !== 'link' && term !== 'push';
  return Object.fromEntries(
    TERMS.map((term) => [term, formula[term] * factors[term].value * (isTime(term) ? by : 1)]),
  ) as Record<Term, number>;
}

/** One course's guest, link and machine. */
interface World {
  readonly probed: Probed;
  readonly options: MigrationOptions;
  readonly ms: Milliseconds;
  readonly bytesPerS: number;
  readonly wirePageBytes: number;
  readonly dirtyAfter: (ms: number) => number;
}

function course(
  probed: Probed,
  options: MigrationOptions,
  calibration: Calibration,
  deviation: Deviation,
): Course {
  const technique = options.technique as Technique;
  const ms = terms(probed, technique, calibration, deviation.overheads);
  const bytesPerS = linkBytesPerS(probed.bytesPerS, options) * deviation.bandwidth;
  const dirtyAfter = (after: number): number =>
    Math.min(probed.pageCount, probed.written.pagesAfter(after) * deviation.written);
  const world = { probed, options, ms, bytesPerS, dirtyAfter, wirePageBytes: wirePage(probed, options) };
  const { replay, unsentBytes } = untilPause(world);
  const isLate = isSwitched(options, replay.convergence);
  const bitmapBytes = isLate && technique !== 'post-copy' ? probed.pageCount / 8 : 0;
  const pausedBytes = probed.deviceStateBytes + (isLate ? bitmapBytes : unsentBytes);
  const pauseCap = options.limitFinalRound ? options.maxBandwidthBytesPerS : 0;
  const downtimeMs = ms.pause + (pausedBytes / capped(bytesPerS * ms.link, pauseCap)) * MS_PER_S;
  const late = isLate ? afterPause(world, unsentBytes) : { pushMs: 0, lostMs: 0 };
  const totalTimeMs = ms.setup + replay.durationMs + ms.lead + downtimeMs + late.pushMs + ms.tail;
  const liveBytes = replay.rounds.reduce((sum, { bytes }) => sum + bytes, OTHER_BYTES);
  return {
    values: {
      totalTimeMs,
      downtimeMs,
      transferredBytes: liveBytes + pausedBytes + (isLate ? unsentBytes : 0),
      degradationPercent: (PERCENT * Math.min(totalTimeMs, downtimeMs + late.lostMs)) / totalTimeMs,
    },
    rounds: replay.rounds.length + 1,
    convergence: replay.convergence,
  };
}

/** The rounds while the guest runs, if there are any, and what has not been sent when it stands still. */
function untilPause({ probed, options, ms, bytesPerS, wirePageBytes, dirtyAfter }: World): {
  readonly replay: Replay;
  readonly unsentBytes: number;
} {
  const { pageCount } = probed;
  const zeroPages = transformsOf(options).zero ? pageCount * probed.zeroShare : 0;
  if (options.technique !== 'pre-copy' && options.technique !== 'hybrid') {
    const unsentBytes = (pageCount - zeroPages) * wirePageBytes + zeroPages * WIRE_ZERO_BYTES;
    return { replay: { rounds: [], convergence: '', durationMs: 0 }, unsentBytes };
  }
  const setting = {
    pageCount,
    zeroPages,
    wirePageBytes,
    wireZeroBytes: WIRE_ZERO_BYTES,
    bytesPerS: capped(bytesPerS * ms.link, options.maxBandwidthBytesPerS),
    roundMs: ROUND_MS + probed.roundTripMs,
    dirtyAfter,
    startMs: ms.setup,
  };
  const replay = replayRounds(setting, options);
  const { durationMs, dirtyAfter: dirtyPages } = replay.rounds.at(-1)!;
  // What follows the last round's end until the vCPUs stand still is written as well.
  const morePages = dirtyAfter(durationMs + ms.lead) - dirtyAfter(durationMs);
  return { replay, unsentBytes: (dirtyPages + morePages) * wirePageBytes };
}

function afterPause({ probed, options, ms, bytesPerS, wirePageBytes, dirtyAfter }: World, bytes: number) {
  const { written, accessedPerWritten, pageCount, busyShare } = probed;
  const touchedPages = Math.max(1, Math.min(pageCount, written.workingSetPages * accessedPerWritten));
  const isWhole = options.technique === 'post-copy';
  const { pushMs, lostMs } = postCopyPart({
    bytes,
    bytesPerS: capped(bytesPerS * ms.push, options.maxPostcopyBandwidthBytesPerS),
    touchedBytes: touchedPages * wirePageBytes,
    missingShare: isWhole ? 1 : Math.min(1, bytes / wirePageBytes / touchedPages),
    busyShare,
    touchedAfter: (after) => dirtyAfter(after) * accessedPerWritten,
    faultMs: ms.fault,
  });
  return { pushMs: PUSH_START_MS + pushMs, lostMs };
}

/** @param limit 0: none */
function capped(rate: number, limit: number): number {
  return limit > 0 ? Math.min(limit, rate) : rate;
}

/** Bytes of a page that is not of zeroes: what a sample of them compresses to, if that is asked for. */
function wirePage({ compressedShare }: Probed, options: MigrationOptions): number {
  return isCompressed(options) ? WIRE_PAGE_BYTES * compressedShare : WIRE_PAGE_BYTES;
}

function isCompressed(options: MigrationOptions): boolean {
  return transformsOf(options).compression !== Compression.COMPRESSION_NONE;
}

/** Whether pages follow after the pause. */
function isSwitched({ technique, onTimeout }: MigrationOptions, convergence: string): boolean {
  if (technique === 'post-copy' || technique === 'hybrid') return true;
  const isVain = technique === 'pre-copy' && convergence !== 'converged';
  return isVain && onTimeout === OnTimeout.ON_TIMEOUT_POST_COPY;
}

/** What a migration gets of a link that carries so much. */
export function linkBytesPerS(
  probedBytesPerS: number,
  options: Pick<MigrationOptions, 'transforms'>,
): number {
  const isPlain = transformsOf(options).encryption === Encryption.ENCRYPTION_NONE;
  return Math.min(probedBytesPerS, isPlain ? MOVER_BYTES_PER_S.plain : MOVER_BYTES_PER_S.sealed);
}
