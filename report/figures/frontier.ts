/**
 * Two keys that were varied over numbers make a map. With a bandwidth and a dirty rate it is the convergence
 * frontier: on the one side of it pre-copy ends by itself, on the other it has to be ended.
 */
import { durationText } from '../../cli/render/measures.ts';
import { median } from '../../statistics/quantiles.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { HEAT_CELLS_MAX } from '../limits.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { SWEEP_UNIT, type SweptKey, settingsOf, sweptKeys } from '../sweep.ts';

const CELL = { width: 84, height: 40 };
/** Why the rounds of a pre-copy end when they would go on for ever; a hybrid switches, which is no failure. */
const CUT_SHORT = [
  ...['max-rounds', 'total-time-limit', 'completion-timeout', 'progress-timeout'],
  ...['max-iterations', 'sent-3x', 'sent-more', 'grew', 'rate-above-max', 'stalled'],
];

/** One for each technique that has a value in each cell; nothing unless two keys were swept. */
export function frontierFigures(study: Study): Figure[] {
  const groups = shownGroups(study);
  const keys = sweptKeys(groups);
  const across = keys.find(({ unit }) => unit === SWEEP_UNIT.bytesPerS) ?? keys[0];
  const rest = keys.filter((key) => key !== across);
  const up = rest.find(({ unit }) => unit === SWEEP_UNIT.perS) ?? rest[0];
  if (across === undefined || up === undefined) return [];
  if (Math.max(across.values.length, up.values.length) > HEAT_CELLS_MAX) return [];
  return [...Map.groupBy(groups, ({ technique }) => technique)].flatMap(([technique, members]) => {
    const cells = members.flatMap((group) => cellOf(group, across, up));
    const places = new Set(cells.map(({ x, y }) => `${x} ${y}`));
    // Several variants in one cell would hide each other; one row or column is a line, not a map.
    if (places.size < cells.length || new Set(cells.map(({ x }) => x)).size < 2) return [];
    return new Set(cells.map(({ y }) => y)).size < 2 ? [] : [frontierFigure(technique, cells, across, up)];
  });
}

/** A group's cell; the share of its trials that converged is null for techniques that do not iterate. */
function cellOf({ variant, trials }: Group, across: SweptKey, up: SweptKey): Row[] {
  const settings = settingsOf(variant);
  const x = settings.get(across.key);
  const y = settings.get(up.key);
  const downtimeMs = median(trials.flatMap(({ downtime_ms }) => downtime_ms ?? []));
  if (x === undefined || y === undefined || downtimeMs === null || downtimeMs <= 0) return [];
  const ends = trials.flatMap(({ convergence }) => convergence ?? []);
  const converged =
    ends.length === 0 ? null : ends.filter((end) => !CUT_SHORT.includes(end)).length / ends.length;
  return [
    { x, y, downtime_ms: downtimeMs, converged, trials: trials.length, text: durationText(downtimeMs) },
  ];
}

function frontierFigure(technique: string, cells: readonly Row[], across: SweptKey, up: SweptKey): Figure {
  const values = cells.map((cell): Row => {
    const { text, converged } = cell;
    const isCut = typeof converged === 'number' && converged < 0.5;
    return { ...cell, text: isCut ? `× ${text}` : `${text}` };
  });
  const isFrontier = across.unit === SWEEP_UNIT.bytesPerS && up.unit === SWEEP_UNIT.perS;
  const logs = cells.map(({ downtime_ms }) => Math.log(Number(downtime_ms)));
  const middle = Math.exp((Math.min(...logs) + Math.max(...logs)) / 2);
  const place = (field: 'x' | 'y', { key, values: swept }: SweptKey): Chart => ({
    field,
    type: 'ordinal',
    scale: { paddingInner: 0.04, paddingOuter: 0 },
    sort: field === 'x' ? swept.map(({ text }) => text) : swept.map(({ text }) => text).reverse(),
    axis: { title: key, labelAngle: 0, domain: false, ticks: false, grid: false },
  });
  const position = { x: place('x', across), y: place('y', up) };
  return {
    name: `frontier-${technique.replace(/[^a-z0-9]+/g, '-')}`,
    title: isFrontier
      ? `Where ${technique} converges`
      : `${technique}: downtime over ${across.key} and ${up.key}`,
    caption:
      'Median downtime of each pair of settings; the brighter, the longer. × marks pairs of which less than half of ' +
      'the trials converged: their rounds were ended by a limit.',
    chart: {
      width: { step: CELL.width },
      height: { step: CELL.height },
      data: { values },
      encoding: position,
      layer: [
        {
          mark: { type: 'rect' },
          encoding: {
            color: {
              field: 'downtime_ms',
              type: 'quantitative',
              scale: { type: 'log', scheme: 'cividis' },
              legend: null,
            },
          },
        },
        {
          mark: { type: 'text', fontSize: 11 },
          encoding: {
            text: { field: 'text' },
            color: {
              condition: { test: `datum.downtime_ms > ${middle}`, value: '#101010' },
              value: '#fefefe',
            },
          },
        },
      ],
    },
    rows: cells.map(
      ({ x, y, downtime_ms, converged, trials }): Row => ({
        ...{ technique, [across.key]: x ?? null, [up.key]: y ?? null },
        ...{ downtime_ms: downtime_ms ?? null, share_converged: converged ?? null, trials: trials ?? null },
      }),
    ),
  };
}
