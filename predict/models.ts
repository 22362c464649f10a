/**
 * Simpler models of what a guest writes, to set beside U(t) as it is followed here (Nathan et al., SoCC 2015, compare
 * such models): the constant rate of most of the literature, and distinct pages of a single class.
 */

import { linearSaturating } from './closed-forms/precopy.ts';
import { type DirtyCurve, dirtyCurve } from './dirty-curve.ts';
import { type DirtySample, fitOneClass } from './fit-curve.ts';

const MS_PER_S = 1000;

export const MODELS = {
  /** Pages go on to be dirtied as fast as they were over the whole probe (Akoush et al., AVG). */
  'constant rate': constantRate,
  /** Least squares to one class of pages with Poisson writes. */
  'one class': oneClass,
  /** The samples themselves, and the classes that fit best beyond them. */
  'followed curve': dirtyCurve,
} as const satisfies Record<string, (samples: readonly DirtySample[], pageCount: number) => DirtyCurve>;

/** What is common to both: without an error of their own. */
function modelled(pageCount: number, ratePagesPerS: number, pagesAfter: (ms: number) => number): DirtyCurve {
  const capped = (ms: number): number => Math.min(pageCount, pagesAfter(ms));
  return {
    pagesAfter: capped,
    errorShare: () => 0,
    ratePagesPerS,
    workingSetPages: capped(Number.MAX_SAFE_INTEGER),
  };
}

function constantRate(samples: readonly DirtySample[], pageCount: number): DirtyCurve {
  const last = samples.toSorted((a, b) => a.ms - b.ms).at(-1);
  const perS = last === undefined ? 0 : (last.dirtyPages / last.ms) * MS_PER_S;
  return modelled(pageCount, perS, (ms) => linearSaturating(pageCount, perS, ms / MS_PER_S));
}

function oneClass(samples: readonly DirtySample[], pageCount: number): DirtyCurve {
  const points = samples.filter(({ ms }) => ms > 0).toSorted((a, b) => a.ms - b.ms);
  const last = points.at(-1);
  if (last === undefined || last.dirtyPages === 0) return modelled(pageCount, 0, () => 0);
  const fit = fitOneClass(points, pageCount);
  return modelled(pageCount, fit.pagesAfter(1) * MS_PER_S, fit.pagesAfter);
}
