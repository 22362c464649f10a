/** How a measure is distributed: each trial as a point, the box of Tukey, the interval of the median. */
import { CONFIDENCE, medianInterval } from '../../statistics/bootstrap.ts';
import { spreadOf } from '../../statistics/quantiles.ts';
import type { Figure, Row } from '../chart.ts';
import { chartUnit, MAIN_MEASURES, type Measure, valuesOf } from '../measures.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { INK, SOFT, techniqueStyle } from '../theme.ts';
import { isLogarithmic, scaleFor } from './axes.ts';
import { countsText, rowLayout } from './rows.ts';

const WIDTH = 560;
/** Beyond this ratio of greatest to least a linear axis hides the small ones. */
const LOG_FROM = 20;
/** Rows' places relative to their middle: points above, the box below them, the interval below that. */
const POINTS_AT = -0.18;
const POINTS_SPREAD = 0.15;
const BOX = { from: 0.1, to: 0.26 };
const INTERVAL_AT = 0.35;
/** Points beside each other repeat after so many. */
const LANES = 5;
/** From so many points in a row on they are small and pale, so that it still shows where most are. */
const CROWD_FROM = 60;
const FEW = { inside: 34, outside: 52, opacity: 0.6 };
const CROWD = { inside: 12, outside: 20, opacity: 0.3 };

/** One for each of the main measures that has values. */
export function distributionFigures(study: Study): Figure[] {
  return MAIN_MEASURES.flatMap((measure) => {
    const groups = shownGroups(study).filter(({ trials }) => valuesOf(trials, measure).length > 0);
    return groups.length === 0 ? [] : [distribution(groups, measure)];
  });
}

function distribution(groups: readonly Group[], measure: Measure): Figure {
  const values = groups.flatMap(({ trials }) => valuesOf(trials, measure));
  const { unit, factor } = chartUnit(measure.kind, Math.max(...values));
  const drawn = values.map((value) => value / factor);
  const x = scaleFor(drawn, `${measure.name} (${unit})`, LOG_FROM);
  const points = groups.flatMap((group, index) => pointsOf(group, index, measure, factor));
  const boxes = groups.map((group, index) => boxOf(group, index, measure, factor));
  const isCrowd = values.length / groups.length >= CROWD_FROM;
  const { height, y, names } = rowLayout(groups.map(({ name }) => name));
  const counts = groups.map(({ trials }) => trials.length);
  const percent = Math.round(CONFIDENCE * 100);
  return {
    name: `distribution-${measure.key.replace(/_.*$/, '')}`,
    title: `${measure.name[0]!.toUpperCase()}${measure.name.slice(1)} of each trial`,
    caption:
      `One mark for each trial (${countsText(counts)} of each); rings are outliers by ` +
      `Tukey's fences, which are shown and counted. Box: quartiles and median; whiskers: the rest within the fences; ` +
      `thick bar: ${percent} % bootstrap interval of the median.${isLogarithmic(x) ? ' Logarithmic axis.' : ''}`,
    chart: {
      width: WIDTH,
      height,
      encoding: {
        y,
        x: { field: 'x', type: 'quantitative', ...x },
        color: { field: 'color', type: 'nominal', scale: null },
      },
      layer: [names, ...boxLayers(boxes), ...pointLayers(points, isCrowd ? CROWD : FEW), medianText(boxes)],
    },
    rows: groups.flatMap((group) =>
      group.trials.map((trial) => ({
        technique: group.technique,
        variant: group.variant,
        guest: trial.guest,
        trial: trial.trial,
        [measure.key]: measure.pick(trial),
      })),
    ),
  };
}

function pointsOf(group: Group, index: number, measure: Measure, factor: number): Row[] {
  const { color, shape } = techniqueStyle(group.technique);
  const values = valuesOf(group.trials, measure);
  const { outliers = [] } = spreadOf(values) ?? {};
  const isOutlier = new Set(outliers);
  return values.map((value, place) => ({
    x: value / factor,
    y: index + POINTS_AT + (((place * 2) % LANES) / (LANES - 1) - 0.5) * POINTS_SPREAD,
    color,
    shape,
    outlier: isOutlier.has(value),
  }));
}

function boxOf(group: Group, index: number, measure: Measure, factor: number): Row {
  const values = valuesOf(group.trials, measure);
  const { q1, q3, median, whiskers } = spreadOf(values)!;
  const [from, to] = medianInterval(values) ?? [median, median];
  return {
    ...{ q1: q1 / factor, q3: q3 / factor, x: median / factor },
    ...{ low: whiskers[0] / factor, high: whiskers[1] / factor, from: from / factor, to: to / factor },
    ...{ y: index + (BOX.from + BOX.to) / 2, top: index + BOX.from, bottom: index + BOX.to },
    ...{
      interval: index + INTERVAL_AT,
      text: measure.text(median),
      color: techniqueStyle(group.technique).color,
    },
  };
}

function boxLayers(boxes: readonly Row[]): unknown[] {
  const data = { values: boxes };
  return [
    {
      data,
      mark: { type: 'rule', color: SOFT },
      encoding: { x: { field: 'low' }, x2: { field: 'high' }, color: { value: SOFT } },
    },
    {
      data,
      mark: { type: 'rect', fillOpacity: 0.3, strokeWidth: 1.2 },
      encoding: {
        ...{ x: { field: 'q1' }, x2: { field: 'q3' }, y: { field: 'top' }, y2: { field: 'bottom' } },
        stroke: { field: 'color', type: 'nominal', scale: null },
      },
    },
    {
      data,
      mark: { type: 'rule', strokeWidth: 2.4 },
      encoding: { y: { field: 'top' }, y2: { field: 'bottom' } },
    },
    {
      data,
      mark: { type: 'rule', strokeWidth: 3, strokeCap: 'butt' },
      encoding: {
        ...{ x: { field: 'from' }, x2: { field: 'to' }, y: { field: 'interval' } },
        color: { value: INK },
      },
    },
  ];
}

function pointLayers(points: readonly Row[], marks: typeof FEW): unknown[] {
  const shape = { field: 'shape', type: 'nominal', scale: null };
  const inside = points.filter(({ outlier }) => outlier === false);
  const outside = points.filter(({ outlier }) => outlier === true);
  return [
    {
      data: { values: inside },
      mark: { type: 'point', filled: true, size: marks.inside, opacity: marks.opacity },
      encoding: { shape },
    },
    ...(outside.length === 0
      ? []
      : [
          {
            data: { values: outside },
            mark: { type: 'point', size: marks.outside, strokeWidth: 1.6, opacity: 1 },
            encoding: { shape },
          },
        ]),
  ];
}

/** Each row's median in figures, at the right of the panel. */
function medianText(boxes: readonly Row[]): unknown {
  return {
    data: { values: boxes },
    mark: { type: 'text', align: 'left', dx: 10, color: INK },
    encoding: { x: { value: WIDTH }, text: { field: 'text' }, color: { value: INK } },
  };
}
