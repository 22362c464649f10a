/** Bars that are made of parts: the downtime, and the bytes. Parts are means over the trials, so that they add up. */
import type { TrialRecord } from '../../records/result-record.ts';
import type { Chart, Figure, Row } from '../chart.ts';
import { chartUnit, type Measure } from '../measures.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { PART_COLORS } from '../theme.ts';
import { countsText, type RowLayout, rowLayout } from './rows.ts';

const WIDTH = 310;
const SPACING = 24;
const BAR_HALF = 0.26;
/** The title of the axis on which each row is a whole. */
const SHARE = 'share of it';

interface Part {
  readonly name: string;
  readonly color: string;
  readonly pick: (trial: TrialRecord) => number | null;
}

const DOWNTIME_PARTS: readonly Part[] = [
  {
    name: 'final pages',
    color: PART_COLORS.finalPages,
    pick: (trial) => trial.downtime_parts.final_pages_ms,
  },
  {
    name: 'device state',
    color: PART_COLORS.deviceState,
    pick: (trial) => trial.downtime_parts.device_state_ms,
  },
  { name: 'handover', color: PART_COLORS.handover, pick: (trial) => trial.downtime_parts.handover_ms },
  { name: 'resume', color: PART_COLORS.resume, pick: (trial) => trial.downtime_parts.resume_ms },
];

const BYTE_PARTS: readonly Part[] = [
  { name: 'while it ran', color: PART_COLORS.whileRunning, pick: (trial) => trial.precopy_bytes },
  { name: 'in the pause', color: PART_COLORS.inPause, pick: (trial) => trial.downtime_bytes },
  { name: 'after the resume', color: PART_COLORS.postcopy, pick: (trial) => trial.postcopy_bytes },
];

/** The downtime and the bytes in their parts; nothing when no trial lived to see them. */
export function stackFigures(study: Study): Figure[] {
  const groups = shownGroups(study);
  const downtime = groups.filter(({ trials }) => wholeTrials(trials, DOWNTIME_PARTS).length > 0);
  const bytes = groups.filter(({ trials }) => wholeTrials(trials, BYTE_PARTS).length > 0);
  return [
    ...(downtime.length === 0 ? [] : [downtimeFigure(downtime)]),
    ...(bytes.length === 0 ? [] : [bytesFigure(bytes)]),
  ];
}

/** The trials of which every part is known. */
function wholeTrials(trials: readonly TrialRecord[], parts: readonly Part[]): TrialRecord[] {
  return trials.filter((trial) => parts.every(({ pick }) => pick(trial) !== null));
}

function downtimeFigure(groups: readonly Group[]): Figure {
  const stacks = stacksOf(groups, DOWNTIME_PARTS, 'time');
  const layout = rowLayout(groups.map(({ name }) => name));
  return {
    name: 'downtime-parts',
    title: 'What the downtime is made of',
    caption:
      `Means over the trials (${countsText(stacks.counts)} of each): on the left in ${stacks.unit}, on the right as ` +
      'shares. Final pages: from the last vCPU at rest until the last page is sent; then the state of vCPUs and ' +
      'devices, the handover until the destination has the guest, and its resume.',
    chart: {
      spacing: SPACING,
      hconcat: [
        {
          ...{ width: WIDTH, height: layout.height },
          layer: [layout.names, bars(stacks, DOWNTIME_PARTS, layout, `downtime (${stacks.unit})`)],
        },
        { ...bars(stacks, DOWNTIME_PARTS, layout, SHARE), width: WIDTH - 60, height: layout.height },
      ],
      resolve: { scale: { color: 'shared' } },
    },
    rows: stacks.rows,
  };
}

function bytesFigure(groups: readonly Group[]): Figure {
  const stacks = stacksOf(groups, BYTE_PARTS, 'bytes');
  const layout = rowLayout(groups.map(({ name }) => name));
  const resent = groups.flatMap((group, index): Row[] => {
    const mean = meanOf(group.trials.map(({ resent_bytes }) => resent_bytes));
    if (mean === null || mean === 0) return [];
    return [
      {
        y: index + BAR_HALF + 0.02,
        y2: index + BAR_HALF + 0.12,
        x: 0,
        x2: mean / stacks.factor,
        part: RESENT.name,
      },
    ];
  });
  const parts = resent.length === 0 ? BYTE_PARTS : [...BYTE_PARTS, RESENT];
  const rows = stacks.rows.map((row, index) => {
    const group = groups[index]!;
    return { ...row, resent_bytes: meanOf(group.trials.map(({ resent_bytes }) => resent_bytes)) };
  });
  const whole = { ...stacks, bars: [...stacks.bars, ...resent] };
  return {
    name: 'bytes',
    title: 'What was sent, and when',
    caption:
      `Means over the trials (${countsText(stacks.counts)} of each) of the bytes written to sockets: while the guest ` +
      'ran at the source, in its pause, and after it resumed at the destination. The thin bar below is the ' +
      'content of pages that had been sent before.',
    chart: {
      width: WIDTH * 2 - 60 + SPACING,
      height: layout.height,
      layer: [layout.names, bars(whole, parts, layout, `bytes sent (${stacks.unit})`)],
    },
    rows,
  };
}

const RESENT: Part = {
  name: 'sent again (part of it)',
  color: PART_COLORS.resent,
  pick: (trial) => trial.resent_bytes,
};

interface Stacks {
  readonly unit: string;
  readonly factor: number;
  readonly counts: readonly number[];
  /** Rectangles, in the axis' unit and as shares. */
  readonly bars: readonly Row[];
  /** The data, in the record's units. */
  readonly rows: readonly Row[];
}

function stacksOf(groups: readonly Group[], parts: readonly Part[], kind: Measure['kind']): Stacks {
  const means = groups.map(({ trials }) => {
    const whole = wholeTrials(trials, parts);
    return parts.map(({ pick }) => meanOf(whole.map(pick)) ?? 0);
  });
  const totals = means.map((each) => each.reduce((sum, mean) => sum + mean, 0));
  const { unit, factor } = chartUnit(kind, Math.max(...totals));
  const suffix = kind === 'time' ? 'ms' : 'bytes';
  const bars = means.flatMap((each, index) => {
    let from = 0;
    return each.map((mean, place): Row => {
      const start = from;
      from += mean;
      const share = totals[index] === 0 ? 0 : 1 / totals[index]!;
      return {
        ...{ y: index - BAR_HALF, y2: index + BAR_HALF, part: parts[place]!.name },
        ...{ x: start / factor, x2: from / factor, share: start * share, share2: from * share },
      };
    });
  });
  const rows = groups.map((group, index): Row => {
    const columns = parts.map(({ name }, place): [string, number] => [
      `${name.replaceAll(' ', '_')}_${suffix}`,
      means[index]![place]!,
    ]);
    return {
      technique: group.technique,
      variant: group.variant,
      trials: group.trials.length,
      ...Object.fromEntries(columns),
    };
  });
  const counts = groups.map(({ trials }) => wholeTrials(trials, parts).length);
  return { unit, factor, counts, bars, rows };
}

function bars({ bars: values }: Stacks, parts: readonly Part[], { y }: RowLayout, title: string): Chart {
  const isShare = title === SHARE;
  const axis = isShare ? { title, values: [0, 0.25, 0.5, 0.75, 1], format: '.0%' } : { title, tickCount: 6 };
  return {
    data: { values },
    mark: { type: 'rect' },
    encoding: {
      y,
      y2: { field: 'y2' },
      x: {
        field: isShare ? 'share' : 'x',
        type: 'quantitative',
        scale: { zero: true, nice: !isShare },
        axis,
      },
      x2: { field: isShare ? 'share2' : 'x2' },
      color: {
        field: 'part',
        type: 'nominal',
        scale: { domain: parts.map(({ name }) => name), range: parts.map(({ color }) => color) },
        sort: null,
      },
    },
  };
}

function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
