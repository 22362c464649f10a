/**
 * Fits the form of U(t) to a probe's samples by least squares: one or two classes of pages, each with Poisson writes
 * (PAPERS: Nathan et al.), or a writer that passes through its working set page by page. What fits best is taken, and
 * of two that fit as well the simpler one.
 */

import { linearSaturating, type PageClass, uniquePages } from './closed-forms/precopy.ts';

/** Distinct pages that had been written within a time. */
export interface DirtySample {
  readonly ms: number;
  readonly dirtyPages: number;
}

export interface FittedCurve {
  readonly pagesAfter: (ms: number) => number;
  /** The root of the mean square of how far it is off the samples, as a share of them. */
  readonly residual: number;
}

/** How often a page of a class is written, as its time constant: from and up to these multiples of the probe's time. */
const TIME_CONSTANT_MIN = 1 / 64;
const TIME_CONSTANT_MAX = 64;
const TIME_CONSTANTS = 49;
/** A form with more parameters must fit this much better. */
const BETTER = 0.9;
const MS_PER_S = 1000;

/** @param points growing in time, the last with at least one page */
export function fitCurve(points: readonly DirtySample[], pageCount: number): FittedCurve {
  const constants = timeConstants(points);
  const pairs = constants.flatMap((hot, index) =>
    constants.slice(index + 1).flatMap((cold) => twoClasses(points, hot, cold, pageCount) ?? []),
  );
  const forms = [fitOneClass(points, pageCount), passing(points), ...(pairs.length > 0 ? [best(pairs)] : [])];
  // In the order of their parameters.
  return forms.reduce((simpler, form) => (form.residual < simpler.residual * BETTER ? form : simpler));
}

/** The single class of pages that fits best. */
export function fitOneClass(points: readonly DirtySample[], pageCount: number): FittedCurve {
  return best(timeConstants(points).map((constant) => oneClass(points, constant, pageCount)));
}

function best(curves: readonly FittedCurve[]): FittedCurve {
  return curves.reduce((one, other) => (other.residual < one.residual ? other : one));
}

function timeConstants(points: readonly DirtySample[]): number[] {
  const probedMs = points.at(-1)!.ms;
  return Array.from({ length: TIME_CONSTANTS }, (_, index) => {
    const exponent = index / (TIME_CONSTANTS - 1);
    return probedMs * TIME_CONSTANT_MIN * (TIME_CONSTANT_MAX / TIME_CONSTANT_MIN) ** exponent;
  });
}

function oneClass(points: readonly DirtySample[], constantMs: number, pageCount: number): FittedCurve {
  const share = (ms: number) => -Math.expm1(-ms / constantMs);
  let shares = 0;
  let squares = 0;
  for (const { ms, dirtyPages } of points) {
    const relative = share(ms) / Math.max(1, dirtyPages);
    shares += relative;
    squares += relative ** 2;
  }
  return ofClasses(points, [pagesOf(Math.min(pageCount, shares / squares), constantMs)]);
}

/** The sizes of two classes of given time constants that fit best; undefined when one of them would be none. */
function twoClasses(
  points: readonly DirtySample[],
  hotMs: number,
  coldMs: number,
  pageCount: number,
): FittedCurve | undefined {
  let [hotHot, hotCold, coldCold, hotSum, coldSum] = [0, 0, 0, 0, 0];
  for (const { ms, dirtyPages } of points) {
    const hot = -Math.expm1(-ms / hotMs) / Math.max(1, dirtyPages);
    const cold = -Math.expm1(-ms / coldMs) / Math.max(1, dirtyPages);
    hotHot += hot * hot;
    hotCold += hot * cold;
    coldCold += cold * cold;
    hotSum += hot;
    coldSum += cold;
  }
  const determinant = hotHot * coldCold - hotCold * hotCold;
  if (!(determinant > 0)) return undefined;
  const hotPages = (hotSum * coldCold - coldSum * hotCold) / determinant;
  const coldPages = (coldSum * hotHot - hotSum * hotCold) / determinant;
  if (!(hotPages > 0 && coldPages > 0)) return undefined;
  return ofClasses(points, [pagesOf(hotPages, hotMs), pagesOf(Math.min(pageCount, coldPages), coldMs)]);
}

/** A working set that is written page by page, at the rate of the first samples; through before the last, if ever. */
function passing(points: readonly DirtySample[]): FittedCurve {
  const last = points.at(-1)!;
  const rising = points.filter(({ dirtyPages }) => dirtyPages < last.dirtyPages);
  const slope = (rising.length === 0 ? [last] : rising).map(({ ms, dirtyPages }) => dirtyPages / ms);
  const perS = (slope.reduce((sum, each) => sum + each, 0) / slope.length) * MS_PER_S;
  const straight = perS * (last.ms / MS_PER_S);
  const isThrough = points.length > 1 && points.at(-2)!.dirtyPages === last.dirtyPages;
  const workingSet = isThrough ? last.dirtyPages : Math.max(straight, last.dirtyPages) * TIME_CONSTANT_MAX;
  return measured(points, (ms) => linearSaturating(workingSet, perS, ms / MS_PER_S));
}

function pagesOf(pages: number, constantMs: number): PageClass {
  return { pages, writesPerS: (pages / constantMs) * MS_PER_S };
}

function ofClasses(points: readonly DirtySample[], classes: readonly PageClass[]): FittedCurve {
  return measured(points, (ms) => uniquePages(classes, ms / MS_PER_S));
}

function measured(points: readonly DirtySample[], pagesAfter: (ms: number) => number): FittedCurve {
  const squares = points.map(({ ms, dirtyPages }) => (pagesAfter(ms) / Math.max(1, dirtyPages) - 1) ** 2);
  const residual = Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
  return { pagesAfter, residual };
}
