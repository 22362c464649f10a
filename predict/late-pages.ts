/**
 * Post-copy's second half: pages follow while the guest runs at the destination and waits for those that it touches
 * first. Stepped through time, since what a guest touches depends on how far it has come, and that on how long it has
 * waited: the closed form (closed-forms/postcopy.ts) knows guests only that never wait.
 */

export interface LatePages {
  /** Of all pages that follow. */
  readonly bytes: number;
  readonly bytesPerS: number;
  /** Of the pages that the guest touches, those that are missing at first. */
  readonly missingShare: number;
  /** Distinct pages that it touches within a time in which it does not wait. */
  touchedAfter(ms: number): number;
  /** A wait for one page. */
  readonly faultMs: number;
}

export interface LatePart {
  /** From the first step at the destination to the last missing page. */
  readonly pushMs: number;
  /** What the guest waited. */
  readonly lostMs: number;
}

const STEPS = 200;
const MS_PER_S = 1000;

/** Pages come at an even rate, in an order that has nothing to do with the guest's. */
export function postCopyPart({ bytes, bytesPerS, missingShare, touchedAfter, faultMs }: LatePages): LatePart {
  const pushMs = (bytes / bytesPerS) * MS_PER_S;
  const stepMs = pushMs / STEPS;
  let ranMs = 0;
  for (let step = 0; step < STEPS && stepMs > 0; step++) {
    const missing = missingShare * (1 - (step + 0.5) / STEPS);
    const faults = (touchedAfter(ranMs + stepMs) - touchedAfter(ranMs)) * missing;
    // It gets as far as its waits leave it time for.
    ranMs += stepMs / (1 + (faults * faultMs) / stepMs);
  }
  return { pushMs, lostMs: pushMs - ranMs };
}
