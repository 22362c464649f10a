/** How long vCPUs waited for pages after a post-copy's resume, and how long clients outside waited for answers. */
import type { ClientRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import type { Figure, Row } from '../chart.ts';
import { SERIES_MAX } from '../limits.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { PART_COLORS, SOFT, STYLES, stylesOf } from '../theme.ts';
import { scaleFor } from './axes.ts';
import { rowLayout } from './rows.ts';

const WIDTH = 560;
const LOG_FROM = 8;

/** Nothing when no vCPU waited, and when there were no clients. */
export function latencyFigures(study: Study): Figure[] {
  return [...faultFigure(study), ...clientFigure(study)];
}

interface Curve {
  readonly name: string;
  readonly technique: string;
  readonly trialCount: number;
  readonly faultCount: number;
  /** Each bucket's end, and the share of the faults up to it. */
  readonly steps: readonly { readonly upToMs: number; readonly share: number }[];
}

function faultFigure(study: Study): Figure[] {
  const all = shownGroups(study).flatMap(curveOf);
  const curves = all.slice(0, SERIES_MAX);
  if (curves.length === 0) return [];
  const names = curves.map(({ name }) => name);
  const rows = curves.flatMap(({ name, steps }) =>
    steps.map(({ upToMs, share }): Row => ({ variant: name, up_to_ms: upToMs, share_of_faults: share })),
  );
  const counts = curves.map(
    ({ name, faultCount, trialCount }) => `${name} ${faultCount} in ${trialCount} trials`,
  );
  const left =
    all.length > curves.length ? ` ${all.length - curves.length} more variants are not drawn.` : '';
  const styles = stylesOf(curves.map(({ technique }) => technique));
  const ends = curves.flatMap(({ steps }) => steps.map(({ upToMs }) => upToMs));
  return [
    {
      name: 'fault-latency',
      title: 'How long vCPUs waited for missing pages',
      caption:
        `Of all page faults after the resume, the share that took at most so long; all trials together ` +
        `(faults: ${counts.join(', ')}).${left}`,
      chart: {
        width: WIDTH,
        height: 220,
        data: { values: rows },
        mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2 },
        encoding: {
          x: {
            field: 'up_to_ms',
            type: 'quantitative',
            ...scaleFor(ends, 'wait (ms)', LOG_FROM),
          },
          y: {
            field: 'share_of_faults',
            type: 'quantitative',
            scale: { domain: [0, 1] },
            axis: { title: 'share of the faults', format: '.0%', tickCount: 5, grid: true },
          },
          color: {
            field: 'variant',
            type: 'nominal',
            scale: { domain: names, range: styles.map(({ color }) => color) },
            legend: { columns: 2, symbolType: 'stroke', symbolSize: 300 },
          },
          strokeDash: {
            field: 'variant',
            type: 'nominal',
            scale: { domain: names, range: styles.map(({ dash }) => dash) },
          },
        },
      },
      rows,
    },
  ];
}

function curveOf({ name, technique, trials }: Group): Curve[] {
  const latencies = trials.flatMap(({ postcopy }) => postcopy?.fault_latency ?? []);
  const byEnd = new Map<number, number>();
  for (const { up_to_ms, faults } of latencies.flatMap(({ histogram }) => histogram)) {
    if (up_to_ms > 0) byEnd.set(up_to_ms, (byEnd.get(up_to_ms) ?? 0) + faults);
  }
  const ends = [...byEnd].sort(([a], [b]) => a - b);
  const faultCount = ends.reduce((sum, [, faults]) => sum + faults, 0);
  if (faultCount === 0) return [];
  let below = 0;
  const steps = ends.map(([upToMs, faults]) => {
    below += faults;
    return { upToMs, share: below / faultCount };
  });
  return [{ name, technique, trialCount: latencies.length, faultCount, steps }];
}

const WHEN = ['before', 'during', 'after'] as const;
const WHEN_COLORS = [SOFT, PART_COLORS.inPause, PART_COLORS.postcopy];
const QUANTILES = ['p50', 'p99', 'max'] as const;

function clientFigure(study: Study): Figure[] {
  const seen = shownGroups(study).flatMap(({ name, trials }) => {
    const clients = trials.flatMap((trial) => trial.clients ?? []);
    return [...Map.groupBy(clients, ({ protocol }) => protocol)].map(([protocol, records]) => {
      return { name: `${name} ${protocol}`, records };
    });
  });
  if (seen.length === 0) return [];
  const names = seen.map(({ name }) => name);
  const rows = seen.flatMap(({ name, records }) => clientRows(name, records));
  const points = rows.flatMap((row): Row[] => {
    const index = names.indexOf(String(row.clients));
    const y = index + (WHEN.indexOf(row.when as (typeof WHEN)[number]) - 1) * 0.24;
    const from = row.p50_ms ?? null;
    return QUANTILES.flatMap((quantile): Row[] => {
      const x = row[`${quantile}_ms`] ?? null;
      return typeof x === 'number' && x > 0 ? [{ x, y, from, quantile, when: row.when ?? null }] : [];
    });
  });
  if (points.length === 0) return [];
  const layout = rowLayout(names);
  const { height, y } = layout;
  const x = {
    field: 'x',
    type: 'quantitative',
    ...scaleFor(
      points.map(({ x }) => Number(x)),
      'latency (ms)',
      LOG_FROM,
    ),
  };
  const color = {
    field: 'when',
    type: 'nominal',
    scale: { domain: WHEN, range: WHEN_COLORS },
    legend: { symbolType: 'square', symbolOpacity: 1 },
  };
  const ends = points.filter(
    ({ quantile, from }) => quantile === 'max' && typeof from === 'number' && from > 0,
  );
  return [
    {
      name: 'client-latency',
      title: 'What clients outside noticed',
      caption:
        'Latency of their requests before, during and after the migration, from the moment when a request was due: median, ' +
        '99th percentile and longest, each the median over the trials.',
      chart: {
        width: WIDTH,
        height,
        layer: [
          layout.names,
          {
            data: { values: ends },
            mark: { type: 'rule', strokeWidth: 1.4, opacity: 0.7 },
            encoding: { x: { ...x, field: 'from' }, x2: { field: 'x' }, y, color },
          },
          {
            data: { values: points },
            mark: { type: 'point', filled: true, size: 60, opacity: 1 },
            encoding: {
              ...{ x, y, color },
              shape: {
                field: 'quantile',
                type: 'nominal',
                scale: {
                  domain: QUANTILES,
                  range: STYLES.slice(0, QUANTILES.length).map(({ shape }) => shape),
                },
              },
            },
          },
        ],
      },
      rows,
    },
  ];
}

function clientRows(name: string, records: readonly ClientRecord[]): Row[] {
  return WHEN.map((when): Row => {
    const columns = QUANTILES.map((quantile): [string, number | null] => {
      const values = records
        .map(({ latency_ms }) => latency_ms[when][quantile])
        .filter((value) => value !== null);
      return [`${quantile}_ms`, median(values)];
    });
    return { clients: name, when, ...Object.fromEntries(columns) };
  });
}
