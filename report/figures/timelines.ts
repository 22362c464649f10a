/**
 * One trial of each technique over time: what the guest got done, with its pause, and above what rate bytes left for
 * the destination against the rate at which the guest made them stale.
 */

import { durationText } from '../../cli/render/measures.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import type { TrialRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { SERIES_MAX, TIMELINE_POINTS_MAX } from '../limits.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { INK, PART_COLORS } from '../theme.ts';

const WIDTH = 300;
const MEBIBYTE = 2 ** 20;
/** One time axis for all, unless the longest is so many times the shortest: that would be a sliver then. */
const SHARED_UP_TO = 12;

const KINDS = {
  round: 'round',
  final: 'round in the pause',
  postcopy: 'after the resume',
  dirty: 'made stale by the guest',
} as const;

interface Timeline {
  readonly group: Group;
  readonly trial: TrialRecord;
  readonly totalMs: number;
}

/** For each variant, or for the first of each technique where there are many. */
export function timelineFigures(study: Study): Figure[] {
  const groups = shownGroups(study);
  const isAll = groups.length <= SERIES_MAX;
  const chosen = isAll
    ? groups
    : [...Map.groupBy(groups, ({ technique }) => technique).values()].map(([first]) => first!);
  const timelines = chosen.flatMap((group): Timeline[] => {
    const trial = middleTrial(group);
    return trial === undefined ? [] : [{ group, trial, totalMs: trial.total_time_ms! }];
  });
  const totals = timelines.map(({ totalMs }) => totalMs);
  const longest = Math.max(...totals);
  const isShared = longest <= SHARED_UP_TO * Math.min(...totals);
  const workMax = Math.max(
    0,
    ...timelines.flatMap(({ trial }) => workOf(trial, longest * 1.15).map(({ work }) => work)),
  );
  const rateMax = Math.max(0, ...timelines.flatMap(({ trial }) => ratesOf(trial).map(({ rate }) => rate)));
  return timelines.map((timeline) => {
    const span = isShared ? longest : timeline.totalMs;
    return timelineFigure(timeline, { spanMs: span, isShared, isAll, workMax, rateMax });
  });
}

interface Frame {
  readonly spanMs: number;
  readonly isShared: boolean;
  readonly isAll: boolean;
  readonly workMax: number;
  readonly rateMax: number;
}

/** The trial whose downtime is nearest to the median of those that have a course of time. */
function middleTrial({ trials }: Group): TrialRecord | undefined {
  const whole = trials.filter(
    ({ total_time_ms, downtime_ms }) => total_time_ms !== null && downtime_ms !== null,
  );
  const middle = median(whole.map(({ downtime_ms }) => downtime_ms!));
  if (middle === null) return undefined;
  const distance = ({ downtime_ms }: TrialRecord): number => Math.abs(downtime_ms! - middle);
  return whole.reduce((nearest, trial) => (distance(trial) < distance(nearest) ? trial : nearest));
}

/** When the guest stood still, ms since the migration's acceptance; undefined when that is not known. */
export function pauseOf({
  postcopy,
  rounds,
  downtime_ms,
}: TrialRecord): { from: number; to: number } | undefined {
  if (downtime_ms === null) return undefined;
  if (postcopy !== null) return { from: postcopy.resumed_at_ms - downtime_ms, to: postcopy.resumed_at_ms };
  const final = rounds?.find((round) => round.final);
  return final === undefined ? undefined : { from: final.start_ms, to: final.start_ms + downtime_ms };
}

function timelineFigure({ group, trial, totalMs }: Timeline, frame: Frame): Figure {
  const { spanMs, isShared, isAll, workMax, rateMax } = frame;
  const inSeconds = spanMs >= 10_000;
  const factor = inSeconds ? 1000 : 1;
  const domain = [(-0.12 * spanMs) / factor, (1.15 * spanMs) / factor];
  const x = (axis: Chart | null): Chart => ({
    field: 'x',
    type: 'quantitative',
    scale: { domain, nice: false, zero: false },
    axis,
  });
  const time = { title: `time since the order (${inSeconds ? 's' : 'ms'})`, tickCount: 5 };
  const work = workOf(trial, spanMs * 1.15);
  const pause = pauseOf(trial);
  const band = pause === undefined ? [] : [{ x: pause.from / factor, x2: pause.to / factor }];
  const workPoints = work.map(({ at, work: value }) => ({ x: at / factor, y: value }));
  const inFrame = workPoints.filter(({ x: at }) => at >= domain[0]! && at <= domain[1]!);
  const end = [{ x: totalMs / factor }];
  return {
    name: `timeline-${group.index + 1}`,
    title: group.name,
    caption: timelineCaption(trial, { isShared, isAll, technique: group.technique }),
    chart: {
      spacing: 10,
      vconcat: [
        workPanel(inFrame, band, end, x(null), workMax),
        ratePanel(ratesOf(trial), factor, band, end, x(time), rateMax),
      ],
    },
    rows: [
      ...work.map(({ at, work: value }) => ({ at_ms: at, operations_per_s: value })),
      ...ratesOf(trial).map(({ kind, from, to, rate, bytes }) => ({
        ...{ at_ms: from, to_ms: to, kind, bytes_per_s: rate, bytes },
      })),
    ],
  };
}

function timelineCaption(
  trial: TrialRecord,
  about: { isShared: boolean; isAll: boolean; technique: string },
): string {
  const { trial: number, guest, downtime_ms, total_time_ms, postcopy, convergence } = trial;
  const faults = postcopy === null ? '' : `, ${postcopy.faults} page faults that waited`;
  const why = convergence === null ? '' : `, rounds ended: ${convergence}`;
  const whole = about.isAll ? '' : ` The first variant of ${about.technique}.`;
  const axis = about.isShared ? '' : ' Its time axis is its own.';
  const of = guest === null ? '' : ` of ${guest}`;
  return (
    `Trial ${number}${of}, the one with the middle downtime: ${durationText(downtime_ms!)} of ${durationText(total_time_ms!)}` +
    `${faults}${why}. Band: the pause; dotted line: the end.${whole}${axis}`
  );
}

interface WorkPoint {
  readonly at: number;
  readonly work: number;
}

/** The guest's throughput, up to a moment, averaged so that it can be drawn. */
function workOf({ operations }: TrialRecord, toMs: number): WorkPoint[] {
  const within = (operations ?? []).filter(({ at_ms }) => at_ms >= -0.12 * toMs && at_ms <= toMs);
  const each = Math.max(1, Math.ceil(within.length / TIMELINE_POINTS_MAX));
  const points: WorkPoint[] = [];
  for (let from = 0; from < within.length; from += each) {
    const some = within.slice(from, from + each);
    const sum = some.reduce((total, { operations_per_s }) => total + operations_per_s, 0);
    points.push({ at: some[0]!.at_ms, work: sum / some.length });
  }
  return points;
}

interface RateSpan {
  readonly kind: string;
  readonly from: number;
  readonly to: number;
  /** Bytes per second. */
  readonly rate: number;
  readonly bytes: number;
}

/** What was sent in each round and after the resume, and what the guest wrote meanwhile. */
function ratesOf({ rounds, postcopy, postcopy_bytes, downtime_ms }: TrialRecord): RateSpan[] {
  const spans = (rounds ?? []).flatMap((round): RateSpan[] => {
    const { start_ms: from, duration_ms, sent_bytes: bytes, final, dirty_rate_pps } = round;
    if (duration_ms <= 0) return [];
    const span = { from, to: from + duration_ms };
    if (final) {
      // When it had left the sockets says little: it is spread over the pause, in which it arrives.
      const lasting = Math.max(duration_ms, downtime_ms ?? 0);
      return [{ kind: KINDS.final, from, to: from + lasting, rate: (bytes / lasting) * 1000, bytes }];
    }
    const sent = { ...span, kind: KINDS.round, rate: (bytes / duration_ms) * 1000, bytes };
    const staleRate = dirty_rate_pps * PAGE_BYTES;
    return [sent, { ...span, kind: KINDS.dirty, rate: staleRate, bytes: (staleRate * duration_ms) / 1000 }];
  });
  const { resumed_at_ms: from = 0, resume_time_ms: lasting = null } = postcopy ?? {};
  if (lasting === null || lasting <= 0 || postcopy_bytes === null) return spans;
  const rate = (postcopy_bytes / lasting) * 1000;
  return [...spans, { kind: KINDS.postcopy, from, to: from + lasting, rate, bytes: postcopy_bytes }];
}

/** The pause as a band, and the end as a line, behind everything else. */
function background(band: readonly Row[], end: readonly Row[], x: Chart): unknown[] {
  return [
    {
      data: { values: band },
      mark: { type: 'rect', color: PART_COLORS.inPause, opacity: 0.22 },
      encoding: { x, x2: { field: 'x2' } },
    },
    {
      data: { values: end },
      mark: { type: 'rule', color: INK, strokeDash: [2, 2], strokeWidth: 1 },
      encoding: { x },
    },
  ];
}

function workPanel(
  points: readonly Row[],
  band: readonly Row[],
  end: readonly Row[],
  x: Chart,
  most: number,
): Chart {
  return {
    width: WIDTH,
    height: 90,
    layer: [
      ...background(band, end, x),
      {
        data: { values: points },
        mark: {
          type: 'line',
          interpolate: 'step-after',
          strokeWidth: 1.4,
          color: PART_COLORS.work,
          clip: true,
        },
        encoding: {
          x,
          y: {
            field: 'y',
            type: 'quantitative',
            scale: { domain: [0, most || 1], nice: true },
            axis: { title: 'operations/s', tickCount: 3, format: '~s', minExtent: 38, grid: true },
          },
        },
      },
    ],
  };
}

function ratePanel(
  spans: readonly RateSpan[],
  factor: number,
  band: readonly Row[],
  end: readonly Row[],
  x: Chart,
  most: number,
): Chart {
  const toRow = ({ kind, from, to, rate }: RateSpan): Row => ({
    ...{ kind, x: from / factor, x2: to / factor, y: rate / MEBIBYTE },
  });
  const sent = spans.filter(({ kind }) => kind !== KINDS.dirty).map(toRow);
  const stale = spans.filter(({ kind }) => kind === KINDS.dirty).map(toRow);
  const y = {
    field: 'y',
    type: 'quantitative',
    scale: { domain: [0, most / MEBIBYTE || 1], nice: true },
    axis: { title: 'MiB/s', tickCount: 3, format: '~s', minExtent: 38, grid: true },
  };
  const { whileRunning, inPause, postcopy, dirtyRate } = PART_COLORS;
  const color = {
    field: 'kind',
    type: 'nominal',
    scale: { domain: Object.values(KINDS), range: [whileRunning, inPause, postcopy, dirtyRate] },
    legend: { orient: 'bottom', columns: 2, symbolType: 'square', offset: 6, rowPadding: 3 },
  };
  return {
    width: WIDTH,
    height: 90,
    layer: [
      ...background(band, end, x),
      {
        data: { values: sent },
        mark: { type: 'rect', fillOpacity: 0.75, strokeWidth: 0.6, clip: true },
        encoding: { x, x2: { field: 'x2' }, y, y2: { datum: 0 }, color, stroke: { value: INK } },
      },
      {
        data: { values: stale },
        mark: { type: 'rule', strokeWidth: 2, clip: true },
        encoding: { x, x2: { field: 'x2' }, y, color },
      },
    ],
  };
}
