/** How long vCPUs waited for pages after a post-copy's resume. */
import type { Figure, Row } from '../chart.ts';
import { SERIES_MAX } from '../limits.ts';
import { type Group, type Study, shownGroups } from '../study.ts';
import { stylesOf } from '../theme.ts';
import { scaleFor } from './axes.ts';

const WIDTH = 560;
const LOG_FROM = 8;

interface Curve {
  readonly name: string;
  readonly technique: string;
  readonly trialCount: number;
  readonly faultCount: number;
  /** Each bucket's end, and the share of the faults up to it. */
  readonly steps: readonly { readonly upToMs: number; readonly share: number }[];
}

/** Nothing when no vCPU waited. */
export function faultLatencyFigures(study: Study): Figure[] {
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
