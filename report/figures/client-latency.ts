/** How long clients outside waited for answers, before, during and after the migration. */
import type { ClientRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { type Study, shownGroups } from '../study.ts';
import { PART_COLORS, SOFT, STYLES } from '../theme.ts';
import { scaleFor } from './axes.ts';
import { rowLayout } from './rows.ts';

const WIDTH = 560;
const LOG_FROM = 8;
const WHEN = ['before', 'during', 'after'] as const;
const WHEN_COLORS = [SOFT, PART_COLORS.inPause, PART_COLORS.postcopy];
/** From one of `WHEN` to the next within a row. */
const LINE_STEP = 0.24;
const QUANTILES = ['p50', 'p99', 'max'] as const;

/** A row for each variant and protocol; nothing when there were no clients. */
export function clientLatencyFigures(study: Study): Figure[] {
  const seen = shownGroups(study).flatMap(({ name, trials }) => {
    const clients = trials.flatMap((trial) => trial.clients ?? []);
    return [...Map.groupBy(clients, ({ protocol }) => protocol)].map(([protocol, records]) => {
      return { name: `${name} ${protocol}`, rows: clientRows(`${name} ${protocol}`, records) };
    });
  });
  const points = seen.flatMap(({ rows }, index) => rows.flatMap((row, when) => pointsOf(row, index, when)));
  if (points.length === 0) return [];
  return [
    {
      name: 'client-latency',
      title: 'What clients outside noticed',
      caption:
        'Latency of their requests before, during and after the migration, from the moment when a request was due: ' +
        'median, 99th percentile and longest, each the median over the trials.',
      chart: clientChart(
        seen.map(({ name }) => name),
        points,
      ),
      rows: seen.flatMap(({ rows }) => rows),
    },
  ];
}

/** A row for each of `WHEN`, in its order. */
function clientRows(name: string, records: readonly ClientRecord[]): Row[] {
  return WHEN.map((when): Row => {
    const columns = QUANTILES.map((quantile): [string, number | null] => {
      const values = records.map(({ latency_ms }) => latency_ms[when][quantile]);
      return [`${quantile}_ms`, median(values.filter((value) => value !== null))];
    });
    return { clients: name, when, ...Object.fromEntries(columns) };
  });
}

/** The marks of a row of data; what is unknown has none. */
function pointsOf(row: Row, index: number, when: number): Row[] {
  const y = index + (when - 1) * LINE_STEP;
  return QUANTILES.flatMap((quantile): Row[] => {
    const x = row[`${quantile}_ms`];
    return typeof x === 'number' && x > 0
      ? [{ x, y, from: row.p50_ms ?? null, quantile, when: row.when ?? null }]
      : [];
  });
}

function clientChart(names: readonly string[], points: readonly Row[]): Chart {
  const { height, y, names: labels } = rowLayout(names);
  const values = points.map(({ x }) => Number(x));
  const x = { field: 'x', type: 'quantitative', ...scaleFor(values, 'latency (ms)', LOG_FROM) };
  const color = {
    field: 'when',
    type: 'nominal',
    scale: { domain: WHEN, range: WHEN_COLORS },
    legend: { symbolType: 'square', symbolOpacity: 1 },
  };
  const shape = {
    field: 'quantile',
    type: 'nominal',
    scale: { domain: QUANTILES, range: STYLES.slice(0, QUANTILES.length).map((style) => style.shape) },
  };
  const ends = points.filter(({ quantile, from }) => quantile === 'max' && Number(from) > 0);
  return {
    width: WIDTH,
    height,
    layer: [
      labels,
      {
        data: { values: ends },
        mark: { type: 'rule', strokeWidth: 1.4, opacity: 0.7 },
        encoding: { x: { ...x, field: 'from' }, x2: { field: 'x' }, y, color },
      },
      {
        data: { values: points },
        mark: { type: 'point', filled: true, size: 60, opacity: 1 },
        encoding: { x, y, color, shape },
      },
    ],
  };
}
