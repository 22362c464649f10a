/** Post-copy and hybrid as formulas. Times are seconds, rates pages or bytes per second as said. */

/**
 * Waits for pages over the link when pages are pushed in an order that has nothing to do with the guest's.
 *
 * @param pages that the guest touches sooner or later
 * @param touchesPerS how often each of them is touched for the first time
 * @param pushS how long the push takes
 */
export function networkFaults(pages: number, touchesPerS: number, pushS: number): number {
  const touches = touchesPerS * pushS;
  // 1 - (1 - e^-x) / x, which near 0 is x / 2.
  return touches < 1e-9 ? (pages * touches) / 2 : pages * (1 + Math.expm1(-touches) / touches);
}

/** What one fault costs the vCPU: the way there and back, the page's own time on the link, and the handling. */
export function faultS(roundTripS: number, pageBytes: number, bytesPerS: number, handlingS: number): number {
  return roundTripS + pageBytes / bytesPerS + handlingS;
}

/** The share of the push that a vCPU waits, at most all of it. */
export function slowdown(faults: number, costS: number, pushS: number): number {
  return pushS === 0 ? 0 : Math.min(1, (faults * costS) / pushS);
}

export interface PostcopyOutcome {
  readonly sentBytes: number;
  readonly totalS: number;
  readonly downtimeS: number;
  /** While it runs a lost link or source loses the guest. */
  readonly pushS: number;
}

/** Post-copy: the state in the pause, then every page once, whatever the guest writes. */
export function postCopy(
  memoryBytes: number,
  stateBytes: number,
  bytesPerS: number,
  overheadS = 0,
): PostcopyOutcome {
  const downtimeS = stateBytes / bytesPerS + overheadS;
  const pushS = memoryBytes / bytesPerS;
  return { sentBytes: memoryBytes + stateBytes, totalS: downtimeS + pushS, downtimeS, pushS };
}

/**
 * Hybrid: rounds as in pre-copy, the bitmap of what is missing in the pause, then the last round's pages.
 *
 * @param rounds pages of each round; the last one's are pushed
 */
export function hybrid(
  rounds: readonly number[],
  pageBytes: number,
  stateBytes: number,
  bytesPerS: number,
  overheadS = 0,
): PostcopyOutcome {
  const bitmapBytes = (rounds[0] ?? 0) / 8;
  const sentPages = rounds.reduce((sum, pages) => sum + pages, 0);
  const pushS = ((rounds.at(-1) ?? 0) * pageBytes) / bytesPerS;
  const downtimeS = (stateBytes + bitmapBytes) / bytesPerS + overheadS;
  const sentBytes = sentPages * pageBytes + stateBytes + bitmapBytes;
  return { sentBytes, totalS: sentBytes / bytesPerS + overheadS, downtimeS, pushS };
}
