/**
 * What each transform left of the bytes that came to it, and what CPU it took; nothing where only zeroes were
 * looked for.
 */
import type { TransformRecord } from '../../records/result-record.ts';
import { median } from '../../statistics/quantiles.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { type Study, shownGroups } from '../study.ts';
import { PART_COLORS } from '../theme.ts';
import { type RowLayout, rowLayout } from './rows.ts';

const WIDTH = 270;
const BAR_HALF = 0.24;
const RATIO_AXIS = { title: 'bytes out / bytes in', format: '.0%', tickCount: 4 };
const HOSTS = ['source', 'destination'] as const;

export function transformFigures(study: Study): Figure[] {
  const rows = shownGroups(study).flatMap(({ name, trials }) => {
    const records = trials.flatMap(({ transforms }) => transforms ?? []);
    return [...Map.groupBy(records, labelOf)].map(([label, members]) => rowOf(name, label, members));
  });
  if (rows.every(({ transform }) => transform === 'zero')) return [];
  const layout = rowLayout(rows.map(({ variant, transform }) => `${variant} ${transform}`));
  const ratios = rows.flatMap(({ ratio }, index): Row[] =>
    typeof ratio === 'number' ? [{ x: 0, x2: ratio, y: index - BAR_HALF, y2: index + BAR_HALF }] : [],
  );
  const costs = rows.flatMap((row, index): Row[] => {
    const source = Number(row.source_cpu_s ?? 0);
    const destination = Number(row.destination_cpu_s ?? 0);
    return [
      { x: 0, x2: source, y: index - BAR_HALF, y2: index - 0.01, host: HOSTS[0] },
      { x: 0, x2: destination, y: index + 0.01, y2: index + BAR_HALF, host: HOSTS[1] },
    ];
  });
  return [
    {
      name: 'transforms',
      title: 'What transforms saved, and what they cost',
      caption:
        'Medians over the trials. Left: bytes that a transform left, as a share of those that came to it. Right: CPU ' +
        'seconds that it took at the source, and that undoing it took at the destination.',
      chart: {
        spacing: 26,
        hconcat: [
          panel(layout, [layout.names, bars(ratios, layout, RATIO_AXIS)]),
          panel(layout, [bars(costs, layout, { title: 'CPU (s)', tickCount: 4 }, true)]),
        ],
      },
      rows,
    },
  ];
}

function labelOf({ name, variant }: TransformRecord): string {
  return variant === null ? name : `${name}: ${variant}`;
}

function rowOf(variant: string, transform: string, records: readonly TransformRecord[]): Row {
  const middle = (pick: (record: TransformRecord) => number | null): number | null =>
    median(records.map(pick).filter((value) => value !== null));
  return {
    ...{ variant, transform, records: records.length },
    bytes_in: middle(({ bytes_in }) => bytes_in),
    bytes_out: middle(({ bytes_out }) => bytes_out),
    ratio: middle(({ ratio }) => ratio),
    source_cpu_s: middle(({ cpu_s }) => cpu_s),
    destination_cpu_s: middle(({ destination_cpu_s }) => destination_cpu_s),
  };
}

function panel({ height }: RowLayout, layer: readonly Chart[]): Chart {
  return { width: WIDTH, height, layer };
}

function bars(values: readonly Row[], { y }: RowLayout, axis: Chart, byHost = false): Chart {
  const { whileRunning, postcopy } = PART_COLORS;
  const host = { field: 'host', type: 'nominal', scale: { domain: HOSTS, range: [whileRunning, postcopy] } };
  return {
    data: { values },
    mark: { type: 'rect' },
    encoding: {
      ...{ y, y2: { field: 'y2' }, x2: { field: 'x2' } },
      x: { field: 'x', type: 'quantitative', scale: { zero: true }, axis },
      color: byHost ? host : { value: whileRunning },
    },
  };
}
