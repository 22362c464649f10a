/**
 * `technique: auto`: which technique, with which parameters, for a stated goal. Candidates are predicted, and of those
 * that meet the goal even at the bad end of their bands the one is taken that costs the guest least work. When none
 * does for certain, the one that is most likely to; when none does, the one that misses least. It always says so.
 */

import {
  Compression,
  type Goal,
  type MigrationOptions,
  OnTimeout,
} from '../proto/generated/godwit/v1/migration.ts';
import type { PredictedValue, TechniquePrediction } from '../proto/generated/godwit/v1/prediction.ts';
import { TECHNIQUES } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { transformsOf } from '../proto/transforms.ts';
import { type Calibration, formulas } from './calibration.ts';
import { type Probed, predictTechnique } from './predictor.ts';

/** A technique with its parameters, and what it is expected to take. */
export interface Candidate {
  readonly options: MigrationOptions;
  readonly prediction: TechniquePrediction;
}

export interface Choice {
  readonly candidates: readonly Candidate[];
  /** The index of the candidate that was taken. */
  readonly chosen: number;
  readonly reason: string;
  readonly meetsGoal: boolean;
}

const PERCENT = 100;
/** The least downtime limit that says anything: engines measure no finer. */
const DOWNTIME_LIMIT_MS_MIN = 1;
/** Of what a pause may take, what its pages may: they are counted before the last of them are written. */
const PAGES_SHARE = 0.7;
/** Rounds are in vain that make the pause no shorter than to this share of itself. */
const STALLED = 0.95;
const ROUNDS_TRIED = 30;
/** A guest whose pages hardly compress is not asked to. */
const COMPRESSED_SHARE_MAX = 0.7;

/** Every technique as it was asked for, without a choice. */
export function predictAll(probed: Probed, options: MigrationOptions, calibration: Calibration): Candidate[] {
  return TECHNIQUES.map((technique) => candidate(probed, { ...options, technique }, calibration));
}

/** @param options what all candidates have in common; the technique and what a goal decides are chosen */
export function choose(
  probed: Probed,
  options: MigrationOptions,
  goal: Goal,
  calibration: Calibration,
): Choice {
  const plain = candidatesFor(probed, options, goal, calibration);
  // It costs processors, and is known less well: only where nothing else will do.
  const isEnough = plain
    .map((each) => judge(each, goal))
    .some((each) => !each.forbidden && each.missHigh <= 1);
  const candidates = isEnough ? plain : [...plain, ...compressedOf(probed, plain, calibration)];
  const judged = candidates.map((each, index) => ({ index, ...judge(each, goal) }));
  const allowed = judged.filter(({ forbidden }) => !forbidden);
  const certain = allowed.filter(({ missHigh }) => missHigh <= 1);
  const likely = allowed.filter(({ miss }) => miss <= 1);
  const by = (of: (each: (typeof judged)[number]) => number) => (list: typeof judged) =>
    list.toSorted((a, b) => of(a) - of(b))[0]!;
  const best =
    certain.length > 0
      ? by(({ lostMs }) => lostMs)(certain)
      : likely.length > 0
        ? by(({ missHigh }) => missHigh)(likely)
        : by(({ miss }) => miss)(allowed);
  const taken = candidates[best.index]!;
  return {
    candidates,
    chosen: best.index,
    meetsGoal: best.miss <= 1,
    reason: reasonFor(taken, goal, {
      certain: certain.length,
      likely: likely.length,
      allowed: allowed.length,
    }),
  };
}

function candidate(
  probed: Probed,
  options: MigrationOptions,
  calibration: Calibration,
  parameters = '',
): Candidate {
  return { options, prediction: predictTechnique(probed, options, calibration, parameters) };
}

/** Every technique, and pre-copy with the parameters that a goal suggests. */
function candidatesFor(
  probed: Probed,
  options: MigrationOptions,
  { maxDowntimeMs }: Goal,
  calibration: Calibration,
): Candidate[] {
  const candidates = predictAll(probed, options, calibration);
  const precopy: MigrationOptions = { ...options, technique: 'pre-copy' };
  const limited = limitedTo(probed, precopy, maxDowntimeMs, calibration);
  if (limited !== undefined) candidates.push(limited);
  const stalled = limited ?? candidates.find((each) => each.options.technique === 'pre-copy')!;
  const short = withoutVainRounds(probed, stalled, calibration);
  if (short !== undefined) candidates.push(short);
  return candidates;
}

/** Pre-copy with a downtime limit that leaves room for what a pause takes besides its pages. */
function limitedTo(
  probed: Probed,
  options: MigrationOptions,
  maxDowntimeMs: number,
  calibration: Calibration,
): Candidate | undefined {
  if (maxDowntimeMs === 0) return undefined;
  const setting = { memoryBytes: probed.pageCount * PAGE_BYTES, roundTripMs: probed.roundTripMs };
  const factor = calibration['pre-copy'].pause;
  const stateMs = (probed.deviceStateBytes / probed.bytesPerS) * 1000;
  const besidesMs = formulas('pre-copy', setting).pause * factor.value * (1 + factor.spread) + stateMs;
  const limitMs = Math.max(DOWNTIME_LIMIT_MS_MIN, Math.round((maxDowntimeMs - besidesMs) * PAGES_SHARE));
  if (limitMs === options.downtimeLimitMs) return undefined;
  const parameters = `downtime-limit ${limitMs} ms`;
  return candidate(probed, { ...options, downtimeLimitMs: limitMs }, calibration, parameters);
}

/** Each pre-copy, compressing, where it was not said whether to and pages become much less. */
function compressedOf(
  probed: Probed,
  candidates: readonly Candidate[],
  calibration: Calibration,
): Candidate[] {
  if (probed.compressedShare > COMPRESSED_SHARE_MAX) return [];
  return candidates.flatMap(({ options, prediction }) => {
    const transforms = transformsOf(options);
    if (options.technique !== 'pre-copy' || transforms.compression !== Compression.COMPRESSION_NONE)
      return [];
    const compressing = { ...transforms, compression: Compression.COMPRESSION_LZ4 };
    const parameters = [prediction.parameters, 'compression lz4'].filter((text) => text !== '').join(', ');
    return [candidate(probed, { ...options, transforms: compressing }, calibration, parameters)];
  });
}

/** Pre-copy that stops when its rounds do not get smaller any more (Smart Stop, CloudNet): the rest costs time only. */
function withoutVainRounds(
  probed: Probed,
  { options, prediction }: Candidate,
  calibration: Calibration,
): Candidate | undefined {
  if (prediction.convergence === 'converged' || options.onTimeout === OnTimeout.ON_TIMEOUT_ABORT) {
    return undefined;
  }
  const least = (prediction.downtimeMs?.value ?? 0) / STALLED;
  for (let maxRounds = 1; maxRounds < Math.min(options.maxRounds, ROUNDS_TRIED); maxRounds++) {
    const parameters = [prediction.parameters, `max-rounds ${maxRounds}`].filter(Boolean).join(', ');
    const fewer = candidate(probed, { ...options, maxRounds }, calibration, parameters);
    if ((fewer.prediction.downtimeMs?.value ?? 0) <= least) return fewer;
  }
  return undefined;
}

interface Judgement {
  /** The greatest share of a limit that is used, by what is expected and by the bad end of the bands. */
  readonly miss: number;
  readonly missHigh: number;
  /** Of the guest's work, as time. */
  readonly lostMs: number;
  /** Whether the goal rules it out, whatever it takes. */
  readonly forbidden: boolean;
}

function judge({ options, prediction }: Candidate, goal: Goal): Judgement {
  const { downtimeMs, totalTimeMs, degradationPercent, convergence } = prediction;
  const limits: readonly (readonly [PredictedValue | undefined, number])[] = [
    [downtimeMs, goal.maxDowntimeMs],
    [totalTimeMs, goal.maxTotalTimeMs],
    [degradationPercent, goal.maxDegradationPercent],
  ];
  const isVain = options.technique === 'pre-copy' && convergence !== 'converged';
  const isAborted = isVain && options.onTimeout === OnTimeout.ON_TIMEOUT_ABORT;
  const greatest = (of: (value: PredictedValue) => number): number =>
    isAborted
      ? Number.POSITIVE_INFINITY
      : Math.max(0, ...limits.map(([value, limit]) => (limit > 0 && value ? of(value) / limit : 0)));
  const isLate = options.technique === 'post-copy' || options.technique === 'hybrid';
  const mayTurn = isVain && options.onTimeout === OnTimeout.ON_TIMEOUT_POST_COPY;
  return {
    miss: greatest(({ value }) => value),
    missHigh: greatest(({ high }) => high),
    lostMs: ((degradationPercent?.value ?? 0) / PERCENT) * (totalTimeMs?.value ?? 0),
    forbidden: (isLate || mayTurn) && !goal.mayLoseOnLinkFailure,
  };
}

interface Counts {
  readonly certain: number;
  readonly likely: number;
  readonly allowed: number;
}

function reasonFor({ options, prediction }: Candidate, goal: Goal, counts: Counts): string {
  const { parameters } = prediction;
  const who = `${options.technique}${parameters === '' ? '' : ` (${parameters})`}`;
  const spared = goal.mayLoseOnLinkFailure ? '' : '; post-copy and hybrid may lose the guest with the link';
  const expected = expectation(prediction, goal);
  if (counts.certain > 0) {
    const others = counts.certain === 1 ? 'alone meets' : `of ${counts.certain} that meet`;
    const cost = counts.certain === 1 ? '' : ' costs the guest least work';
    return `${who} ${others} the goal for certain${cost}: ${expected}${spared}`;
  }
  if (counts.likely > 0)
    return `nothing meets the goal for certain; ${who} most likely does: ${expected}${spared}`;
  return `nothing meets the goal; ${who} misses it least: ${expected}${spared}`;
}

/** Each value that a limit is about, or all when there is none. */
function expectation(
  { downtimeMs, totalTimeMs, degradationPercent }: TechniquePrediction,
  goal: Goal,
): string {
  const said = (what: string, value: PredictedValue | undefined, limit: number, unit: string): string[] => {
    if (value === undefined || limit === 0) return [];
    return [
      `${what} ${value.value.toFixed(0)} ${unit} (at most ${value.high.toFixed(0)}) of ${limit} ${unit}`,
    ];
  };
  const parts = [
    ...said('downtime', downtimeMs, goal.maxDowntimeMs, 'ms'),
    ...said('total time', totalTimeMs, goal.maxTotalTimeMs, 'ms'),
    ...said('degradation', degradationPercent, goal.maxDegradationPercent, '%'),
  ];
  if (parts.length > 0) return parts.join(', ');
  return `downtime ${downtimeMs?.value.toFixed(0)} ms in ${totalTimeMs?.value.toFixed(0)} ms; the goal sets no limit`;
}
