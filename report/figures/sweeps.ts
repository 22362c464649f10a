/** Total time, downtime and bytes over each key that was varied over numbers, with the intervals of the medians. */
import { medianInterval } from '../../statistics/bootstrap.ts';
import { median } from '../../statistics/quantiles.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { BANDS_MAX } from '../limits.ts';
import { chartUnit, MAIN_MEASURES, type Measure, valuesOf } from '../measures.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { numberOf, type SweptKey, settingsOf, sweptKeys } from '../sweep.ts';
import { stylesOf } from '../theme.ts';
import { scaleFor } from './axes.ts';

const WIDTH = 210;
const HEIGHT = 170;
/** Beyond this ratio of greatest to least an axis is logarithmic; keys are mostly varied by factors. */
const LOG_FROM = 10;
const SWEPT_LOG_FROM = 4;
/** Names of series up to so long stand two in a line. */
const NAME_SHORT = 50;

interface Series {
  readonly name: string;
  readonly groups: readonly Group[];
}

/** One for each swept key. */
export function sweepFigures(study: Study): Figure[] {
  const groups = shownGroups(study);
  const keys = sweptKeys(groups);
  return keys.flatMap((key) => {
    const { series, left } = seriesOver(key, keys, groups);
    return series.length === 0 ? [] : [sweepFigure(key, series, left)];
  });
}

/**
 * The lines of a figure: a technique with everything else held. Of too many, those in the middle of the other
 * keys.
 */
function seriesOver(
  key: SweptKey,
  keys: readonly SweptKey[],
  groups: readonly Group[],
): { series: Series[]; left: number } {
  const swept = groups.filter(({ variant }) => settingsOf(variant).has(key.key));
  const all = [...Map.groupBy(swept, (group) => nameWithout(key.key, group))]
    .map(([name, members]) => ({ name, groups: members }))
    .filter((series) => series.groups.length > 1);
  const middles = keys.filter((other) => other !== key);
  const isMiddle = ({ groups: [first] }: Series): boolean => {
    const settings = settingsOf(first!.variant);
    return middles.every((other) => {
      const text = settings.get(other.key);
      return text === undefined || text === other.values[other.values.length >> 1]!.text;
    });
  };
  const series = (all.length <= BANDS_MAX ? all : all.filter(isMiddle)).slice(0, BANDS_MAX);
  return { series, left: all.length - series.length };
}

function nameWithout(key: string, { technique, variant }: Group): string {
  const others = [...settingsOf(variant)].filter(([name]) => name !== key);
  return [technique, ...others.map(([name, value]) => `${name}=${value}`)].join(' ');
}

function sweepFigure(key: SweptKey, series: readonly Series[], left: number): Figure {
  const leftText =
    left === 0 ? '' : ` ${left} more lines are not drawn; their figures are in the comparison.`;
  return {
    name: `sweep-${key.key.replace(/[^a-z0-9]+/g, '-')}`,
    title: `Over ${key.key}`,
    caption: `Medians over the trials; bands are the 95 % bootstrap intervals.${leftText}`,
    chart: {
      spacing: 22,
      hconcat: MAIN_MEASURES.map((measure) => panel(key, series, measure)),
      resolve: { scale: { color: 'shared', shape: 'shared', strokeDash: 'shared' } },
    },
    rows: MAIN_MEASURES.flatMap((measure) => pointsOf(key, series, measure)),
  };
}

function pointsOf(key: SweptKey, series: readonly Series[], measure: Measure): Row[] {
  return series.flatMap(({ name, groups }) =>
    groups.flatMap((group): Row[] => {
      const values = valuesOf(group.trials, measure);
      const middle = median(values);
      const at = numberOf(settingsOf(group.variant).get(key.key)!)?.value;
      if (middle === null || at === undefined) return [];
      const [from, to] = medianInterval(values) ?? [middle, middle];
      return [
        {
          series: name,
          measure: measure.key,
          [key.key]: at,
          median: middle,
          low: from,
          high: to,
          trials: values.length,
        },
      ];
    }),
  );
}

function panel(key: SweptKey, series: readonly Series[], measure: Measure): Chart {
  const points = pointsOf(key, series, measure);
  const highs = points.map(({ high }) => Number(high));
  const { unit, factor } = chartUnit(measure.kind, Math.max(0, ...highs));
  const values = points.map(
    (point): Row => ({
      ...{ series: point.series ?? null, x: point[key.key] ?? null, y: Number(point.median) / factor },
      ...{ low: Number(point.low) / factor, high: Number(point.high) / factor },
    }),
  );
  const drawn = values.flatMap(({ low, high }) => [Number(low), Number(high)]);
  const { scale, axis } = scaleFor(drawn, `${measure.name} (${unit})`, LOG_FROM);
  const y = {
    field: 'y',
    type: 'quantitative',
    scale,
    axis: { ...axis, grid: true },
  };
  const x = sweptAxis(key);
  const names = series.map(({ name }) => name);
  const styles = stylesOf(series.map(({ groups }) => groups[0]!.technique));
  const columns = names.some(({ length }) => length > NAME_SHORT) ? 1 : 2;
  const by = (range: readonly unknown[]): Chart => ({
    field: 'series',
    type: 'nominal',
    scale: { domain: names, range },
    legend: { orient: 'bottom', columns, symbolOpacity: 1 },
  });
  const color = by(styles.map((style) => style.color));
  const strokeDash = by(styles.map((style) => style.dash));
  const shape = by(styles.map((style) => style.shape));
  return {
    width: WIDTH,
    height: HEIGHT,
    data: { values },
    layer: [
      {
        mark: { type: 'area', opacity: 0.16 },
        encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
      },
      { mark: { type: 'line', strokeWidth: 1.8 }, encoding: { x, y, color, strokeDash } },
      {
        mark: { type: 'point', filled: true, size: 40, opacity: 1 },
        encoding: { x, y, color, shape },
      },
    ],
  };
}

/** The axis of a swept key: its values where they belong, in the spec's own words. */
function sweptAxis({ key, values }: SweptKey): Chart {
  const numbers = values.map(({ value }) => value);
  const isLog = numbers[0]! > 0 && numbers.at(-1)! / numbers[0]! >= SWEPT_LOG_FROM;
  const texts = JSON.stringify(values.map(({ text }) => text));
  return {
    field: 'x',
    type: 'quantitative',
    scale: isLog ? { type: 'log', nice: false } : { zero: false, nice: false, padding: 8 },
    axis: {
      title: key,
      values: numbers,
      labelExpr: `${texts}[indexof(${JSON.stringify(numbers)}, datum.value)]`,
      labelOverlap: true,
    },
  };
}
