/**
 * One trial of each technique over time: what the guest got done, with its pause, and above what rate bytes left for
 * the destination against the rate at which the guest made them stale.
 */
import { durationText } from '../../cli/render/measures.ts';
import type { TrialRecord } from '../../records/result-record.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { SERIES_MAX } from '../limits.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { type Frame, ratePanel, workPanel } from './timeline-panels.ts';
import { middleTrial, pauseOf, ratesOf, workOf } from './trial-course.ts';

/** One time axis for all, unless the longest is so many times the shortest: that would be a sliver then. */
const SHARED_UP_TO = 12;
/** What is shown before the order and after the end, as shares of the time between. */
const BEFORE = 0.12;
const AFTER = 0.15;
/** From so long on the axis is in seconds. */
const SECONDS_FROM_MS = 10_000;
const MS_PER_S = 1000;

interface Timeline {
  readonly group: Group;
  readonly trial: TrialRecord;
  readonly totalMs: number;
}

/** What all timelines of a page have in common. */
interface Common {
  /** The time that is shown; null when each has its own. */
  readonly spanMs: number | null;
  readonly isAll: boolean;
  /** The greatest of each panel. */
  readonly workMax: number;
  readonly rateMax: number;
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
  const work = timelines.flatMap(({ trial }) => workOf(trial, -BEFORE * longest, (1 + AFTER) * longest));
  const rates = timelines.flatMap(({ trial }) => ratesOf(trial));
  const common = {
    spanMs: isShared ? longest : null,
    isAll,
    workMax: work.reduce((most, point) => Math.max(most, point.work), 0),
    rateMax: rates.reduce((most, { rate }) => Math.max(most, rate), 0),
  };
  return timelines.map((timeline) => timelineFigure(timeline, common));
}

function timelineFigure({ group, trial, totalMs }: Timeline, common: Common): Figure {
  const spanMs = common.spanMs ?? totalMs;
  const [fromMs, toMs] = [-BEFORE * spanMs, (1 + AFTER) * spanMs];
  const factor = spanMs >= SECONDS_FROM_MS ? MS_PER_S : 1;
  const scale = { domain: [fromMs / factor, toMs / factor], nice: false, zero: false };
  const pause = pauseOf(trial);
  const frame: Frame = {
    factor,
    x: (axis: Chart | null) => ({ field: 'x', type: 'quantitative', scale, axis }),
    band: pause === undefined ? [] : [{ x: pause.from / factor, x2: pause.to / factor }],
    end: [{ x: totalMs / factor }],
  };
  const work = workOf(trial, fromMs, toMs);
  const rates = ratesOf(trial);
  const points = work.map((point): Row => ({ x: point.at / factor, y: point.work }));
  return {
    name: `timeline-${group.index + 1}`,
    title: group.name,
    caption: captionOf(group, trial, common),
    chart: {
      spacing: 10,
      vconcat: [workPanel(points, frame, common.workMax), ratePanel(rates, frame, common.rateMax)],
    },
    rows: [
      ...work.map((point): Row => ({ at_ms: point.at, operations_per_s: point.work })),
      ...rates.map(
        ({ kind, from, to, rate, bytes }): Row => ({
          at_ms: from,
          to_ms: to,
          kind,
          bytes_per_s: rate,
          bytes,
        }),
      ),
    ],
  };
}

function captionOf({ technique }: Group, trial: TrialRecord, { spanMs, isAll }: Common): string {
  const { trial: number, guest, downtime_ms, total_time_ms, postcopy, convergence } = trial;
  const faults = postcopy === null ? '' : `, ${postcopy.faults} page faults that waited`;
  const why = convergence === null ? '' : `, rounds ended: ${convergence}`;
  const whole = isAll ? '' : ` The first variant of ${technique}.`;
  const axis = spanMs === null ? ' Its time axis is its own.' : '';
  const of = guest === null ? '' : ` of ${guest}`;
  return (
    `Trial ${number}${of}, the one with the middle downtime: ${durationText(downtime_ms!)} of ` +
    `${durationText(total_time_ms!)}${faults}${why}. Band: the pause; dotted line: the end.${whole}${axis}`
  );
}
