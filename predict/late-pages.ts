/**
 * Post-copy's second half: pages follow while the guest runs at the destination and waits for those that it touches
 * first. Stepped through time, since what a guest touches depends on how far it has come, and that on how long it has
 * waited: the closed form (closed-forms/postcopy.ts) knows guests only that never wait.
 */

export interface LatePages {
  /** Of all pages that follow. */
  readonly bytes: number;
  readonly bytesPerS: number;
  /** The pages that the guest touches in the end, and which share of them is missing at first. */
  readonly touchedBytes: number;
  readonly missingShare: number;
  /** What the guest needs of its time when it need not wait; 1 when it runs as fast as it can. */
  readonly busyShare: number;
  /** Distinct pages that it touches within a time in which it does not wait. */
  readonly touchedAfter: (ms: number) => number;
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

/**
 * Pages come at an even rate. The push goes on from the last fault, so that what the guest touches comes before the
 * rest: its missing pages are there when as much as they are has been sent.
 */
export function postCopyPart(pages: LatePages): LatePart {
  const { bytes, bytesPerS, touchedBytes, missingShare, busyShare, touchedAfter, faultMs } = pages;
  const pushMs = (bytes / bytesPerS) * MS_PER_S;
  const touchedMs = Math.min(pushMs, (touchedBytes / bytesPerS) * MS_PER_S);
  const stepMs = pushMs / STEPS;
  let ranMs = 0;
  for (let step = 0; step < STEPS && stepMs > 0; step++) {
    const missing = missingShare * Math.max(0, 1 - ((step + 0.5) * stepMs) / touchedMs);
    const faults = (touchedAfter(ranMs + stepMs) - touchedAfter(ranMs)) * missing;
    // It gets as far as its waits leave it time for.
    ranMs += Math.min(stepMs, stepMs / (busyShare + (faults * faultMs) / stepMs));
  }
  return { pushMs, lostMs: pushMs - ranMs };
}
