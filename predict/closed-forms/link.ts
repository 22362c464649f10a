/** What transforms make of a link, and what several guests on one make of each other, as formulas. */

import { geometricRounds, type Outcome, outcomeOf, roundsTo } from './precopy.ts';

/**
 * Memory per second with a transform that runs while the link sends.
 *
 * @param ratio what is left of each byte, above 0
 * @param codecRate memory per second that the transform takes in
 */
export function transformedRate(rate: number, ratio: number, codecRate: number): number {
  return Math.min(codecRate, rate / ratio);
}

/** What a cache of sent pages leaves: it has a page with this probability, and then only what changed goes. */
export function deltaRatio(hitShare: number, encodedShare: number): number {
  return 1 - hitShare * (1 - encodedShare);
}

/** What comparing pages leaves: those that are new, and a name for each. */
export function dedupRatio(newShare: number, nameBytes: number, pageBytes: number): number {
  return newShare + nameBytes / pageBytes;
}

/** Guests that are alike and share a link. */
export interface Crowd {
  readonly count: number;
  readonly memory: number;
  readonly rate: number;
  readonly dirtyRate: number;
  /** A round this small is the last one. */
  readonly threshold: number;
}

function single({ memory, dirtyRate, threshold }: Crowd, rate: number): Outcome {
  const rounds = roundsTo(threshold, memory, rate, dirtyRate);
  return outcomeOf(geometricRounds(memory, rate, dirtyRate, rounds), rate);
}

/** One after the other, each with the whole link; the time is that of all of them. */
export function sequential(crowd: Crowd): Outcome {
  const { sent, totalS, downtimeS } = single(crowd, crowd.rate);
  return { sent: sent * crowd.count, totalS: totalS * crowd.count, downtimeS };
}

/** All at once, each with its share of the link. @throws RangeError when they would never converge so */
export function parallel(crowd: Crowd): Outcome {
  const { count, rate, dirtyRate } = crowd;
  if (count * dirtyRate >= rate) {
    throw new RangeError(`${count} guests that dirty ${dirtyRate} each do not converge on a link of ${rate}`);
  }
  const { sent, totalS, downtimeS } = single(crowd, rate / count);
  return { sent: sent * count, totalS, downtimeS };
}
