/**
 * How many distinct pages a guest writes within a time, U(t), from a probe's samples: what decides pre-copy, and what a
 * single dirty rate does not say (Nathan et al., SoCC 2015). Between samples it follows them; beyond them, classes of
 * pages that were fitted to them.
 */

import { type DirtySample, type FittedCurve, fitCurve } from './fit-curve.ts';

export interface DirtyCurve {
  /** U(t), pages; never falls, and never above the memory. */
  pagesAfter(ms: number): number;
  /** How far off it may be at a time, as a share of it. */
  errorShare(ms: number): number;
  /** Writes to pages that were clean, at first; pages per second. */
  readonly ratePagesPerS: number;
  /** Where it comes to in the end: the writable working set. */
  readonly workingSetPages: number;
}

/** Each doubling of the time beyond the last sample adds so much to what it may be off. */
const DOUBLING_ERROR = 0.03;
/**
 * Beyond the last sample the classes that fit say least, since of pages that are written seldom none was seen; that it
 * goes on to grow as it last did says most. So much of the way from the one to the other, as logarithms, it is taken to
 * be, and so much it may be off.
 */
const TOWARDS_GROWTH = 0.1;
const GROWTH_ERROR = 0.5;
/** A working set is what is written within this many times the probe. */
const WORKING_SET_PROBES = 100;
const MS_PER_S = 1000;

/** @param pageCount of the guest's memory @param samples in any order; those of no time are left out */
export function dirtyCurve(samples: readonly DirtySample[], pageCount: number): DirtyCurve {
  const points = growing(samples);
  const last = points.at(-1);
  if (last === undefined || last.dirtyPages === 0) return idleCurve(last?.ms ?? 0);
  const fit = fitCurve(points, pageCount);
  const growth = growthBeyond(points);
  const pagesAfter = (ms: number): number => {
    const fitted = along(fit, points, ms);
    if (ms <= last.ms) return Math.min(pageCount, fitted);
    return Math.min(pageCount, fitted * Math.max(1, growth(ms) / fitted) ** TOWARDS_GROWTH);
  };
  return {
    pagesAfter,
    errorShare: (ms) => {
      const doublings = Math.max(0, Math.log2(ms / last.ms));
      const pages = Math.max(1, pagesAfter(ms));
      const unseen = doublings === 0 ? 0 : Math.max(0, Math.min(pageCount, growth(ms)) / pages - 1);
      // Which pages are written within a time is chance, and so is their number.
      const chance = 1 / Math.sqrt(pages);
      return fit.residual + chance + doublings * DOUBLING_ERROR + GROWTH_ERROR * unseen;
    },
    ratePagesPerS: (points[0]!.dirtyPages / points[0]!.ms) * MS_PER_S,
    workingSetPages: pagesAfter(last.ms * WORKING_SET_PROBES),
  };
}

/** Grows on as fast as between the last two samples: faster it cannot, as pages that are written again count once. */
function growthBeyond(points: readonly DirtySample[]): (ms: number) => number {
  const last = points.at(-1)!;
  const before = points.at(-2);
  const { ms: fromMs, dirtyPages: fromPages } = before ?? { ms: 0, dirtyPages: 0 };
  const perMs = (last.dirtyPages - fromPages) / (last.ms - fromMs);
  return (ms) => last.dirtyPages + perMs * (ms - last.ms);
}

/** A guest that wrote nothing for so long may yet write something. */
function idleCurve(probedMs: number): DirtyCurve {
  return {
    pagesAfter: () => 0,
    errorShare: (ms) => (probedMs === 0 ? 1 : Math.max(0, Math.log2(ms / probedMs)) * DOUBLING_ERROR),
    ratePagesPerS: 0,
    workingSetPages: 0,
  };
}

/** By time, and no count less than one before. */
function growing(samples: readonly DirtySample[]): DirtySample[] {
  const points: DirtySample[] = [];
  for (const { ms, dirtyPages } of samples.toSorted((a, b) => a.ms - b.ms)) {
    const before = points.at(-1);
    if (ms > (before?.ms ?? 0))
      points.push({ ms, dirtyPages: Math.max(dirtyPages, before?.dirtyPages ?? 0) });
  }
  return points;
}

/** Through the samples, in the time of the fit: where the fit bends, so does this. */
function along(fit: FittedCurve, points: readonly DirtySample[], ms: number): number {
  const at = fit.pagesAfter(ms);
  let fromFit = 0;
  let fromPages = 0;
  for (const point of points) {
    const toFit = fit.pagesAfter(point.ms);
    if (ms <= point.ms) {
      const share = toFit > fromFit ? (at - fromFit) / (toFit - fromFit) : 1;
      return fromPages + share * (point.dirtyPages - fromPages);
    }
    fromFit = toFit;
    fromPages = point.dirtyPages;
  }
  return fromPages + (at - fromFit);
}
