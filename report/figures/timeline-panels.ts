/** The two panels of a timeline: the guest's throughput, and below it the rates of sending and of writing. */
import type { Chart, Row } from '../chart.ts';
import { INK, PART_COLORS } from '../theme.ts';
import { type RateSpan, SPAN_KINDS } from './trial-course.ts';

const WIDTH = 300;
const HEIGHT = 90;
const MEBIBYTE = 2 ** 20;

/** What both panels of a timeline share. */
export interface Frame {
  /** A unit of the time axis is so many ms. */
  readonly factor: number;
  /** The encoding of the time axis, of which only the lower panel is labelled. */
  readonly x: (axis: Chart | null) => Chart;
  /** The pause, if it is known, and the end. */
  readonly band: readonly Row[];
  readonly end: readonly Row[];
}

/** The pause as a band, and the end as a line, behind everything else. */
function background({ band, end }: Frame, x: Chart): unknown[] {
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

export function workPanel(points: readonly Row[], frame: Frame, most: number): Chart {
  const x = frame.x(null);
  return {
    width: WIDTH,
    height: HEIGHT,
    layer: [
      ...background(frame, x),
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

export function ratePanel(spans: readonly RateSpan[], frame: Frame, most: number): Chart {
  const { factor } = frame;
  const x = frame.x({ title: `time since the order (${factor === 1 ? 'ms' : 's'})`, tickCount: 5 });
  const toRow = ({ kind, from, to, rate }: RateSpan): Row => ({
    ...{ kind, x: from / factor, x2: to / factor, y: rate / MEBIBYTE },
  });
  const sent = spans.filter(({ kind }) => kind !== SPAN_KINDS.dirty).map(toRow);
  const stale = spans.filter(({ kind }) => kind === SPAN_KINDS.dirty).map(toRow);
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
    scale: { domain: Object.values(SPAN_KINDS), range: [whileRunning, inPause, postcopy, dirtyRate] },
    legend: { orient: 'bottom', columns: 2, symbolType: 'square', offset: 6, rowPadding: 3 },
  };
  return {
    width: WIDTH,
    height: HEIGHT,
    layer: [
      ...background(frame, x),
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
