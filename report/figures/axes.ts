/** Axes of figures: logarithmic where values are so far apart that a linear one would hide the small ones. */
import type { Chart } from '../chart.ts';

/** Labels at 1, 2 and 5 of each decade, or at its 1 where there are many. */
const STEPS = [1, 2, 5];
const LABELS_MAX = 7;
/** A little room beyond the outermost values. */
const ROOM = 1.08;

/**
 * Scale and axis for values of which the least and the greatest are known. @param from the ratio that makes it
 * logarithmic.
 */
export function scaleFor(
  values: readonly number[],
  title: string,
  from: number,
): { scale: Chart; axis: Chart } {
  const least = Math.min(...values);
  const most = Math.max(...values);
  if (least > 0 && most / least >= from) {
    const domain = [least / ROOM, most * ROOM];
    const axis = { title, values: logTicks(domain[0]!, domain[1]!), format: '~r' };
    return { scale: { type: 'log', nice: false, domain }, axis };
  }
  return { scale: { zero: least < most / 4, nice: true }, axis: { title, tickCount: 6 } };
}

/** Whether `scaleFor` makes a logarithmic axis of these. */
export function isLogarithmic({ scale }: { readonly scale: Chart }): boolean {
  return scale.type === 'log';
}

function logTicks(from: number, to: number): number[] {
  const decades = Array.from({ length: 40 }, (_, index) => 10 ** (index - 20));
  const within = (steps: readonly number[]): number[] =>
    decades
      .flatMap((decade) => steps.map((step) => Number((step * decade).toPrecision(1))))
      .filter((tick) => tick >= from && tick <= to);
  const fine = within(STEPS);
  return fine.length <= LABELS_MAX ? fine : within([1]);
}
