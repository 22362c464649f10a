/**
 * Stop-and-copy and pre-copy as formulas. Sizes are in any unit as long as it is the same one everywhere (bytes, MiB,
 * pages), rates are that unit per second, times are seconds. Each migration's own overheads are added by whoever knows
 * them.
 */

/** What a migration takes. */
export interface Outcome {
  /** Everything that crosses the link. */
  readonly sent: number;
  readonly totalS: number;
  readonly downtimeS: number;
}

/** Overheads: before the first page, and from the last page to the guest's first step at the destination. */
export interface Overheads {
  readonly beforeS: number;
  readonly afterS: number;
}

const NONE: Overheads = { beforeS: 0, afterS: 0 };

/** Everything in the pause. */
export function stopAndCopy(
  memory: number,
  state: number,
  rate: number,
  { beforeS, afterS }: Overheads = NONE,
): Outcome {
  const copyS = (memory + state) / rate;
  return { sent: memory + state, totalS: beforeS + copyS + afterS, downtimeS: copyS + afterS };
}

/**
 * Rounds of a guest that dirties its memory at a constant rate, each write to a page of its own: a geometric series
 * (Liu et al., HPDC 2011; Akoush et al.'s AVG, MASCOTS 2010). No round is larger than the memory.
 *
 * @param roundCount rounds while the guest runs; the round in the pause comes on top
 * @returns the rounds' sizes, the last is sent in the pause
 */
export function geometricRounds(
  memory: number,
  rate: number,
  dirtyRate: number,
  roundCount: number,
): number[] {
  const ratio = dirtyRate / rate;
  return Array.from({ length: roundCount + 1 }, (_, round) => Math.min(memory, memory * ratio ** round));
}

/**
 * How many rounds it takes until no more than a threshold is left.
 *
 * @returns Infinity when they do not get smaller
 */
export function roundsTo(threshold: number, memory: number, rate: number, dirtyRate: number): number {
  if (threshold >= memory) return 0;
  const ratio = dirtyRate / rate;
  if (ratio >= 1) return Number.POSITIVE_INFINITY;
  // Nothing is written: all is sent once.
  if (ratio === 0) return 1;
  return Math.ceil(Math.log(threshold / memory) / Math.log(ratio));
}

/** By how much at least a guest must be slowed for its rounds to get smaller: 0 when they do so by themselves. */
export function throttleToConverge(rate: number, dirtyRate: number): number {
  return dirtyRate <= rate ? 0 : 1 - rate / dirtyRate;
}

/** What rounds of given sizes take, the last in the pause. */
export function outcomeOf(
  rounds: readonly number[],
  rate: number,
  state = 0,
  { beforeS, afterS }: Overheads = NONE,
): Outcome {
  const sent = rounds.reduce((sum, size) => sum + size, state);
  const downtimeS = ((rounds.at(-1) ?? 0) + state) / rate + afterS;
  return { sent, totalS: beforeS + sent / rate + afterS, downtimeS };
}

/** Pages that are alike: how many, and how often one of them is written, together per second. */
export interface PageClass {
  readonly pages: number;
  readonly writesPerS: number;
}

/** Distinct pages that are written within a time: U(t) = sum of H (1 - exp(-w t / H)). */
export function uniquePages(classes: readonly PageClass[], seconds: number): number {
  return classes.reduce((sum, { pages, writesPerS }) => {
    if (pages === 0) return sum;
    return sum - pages * Math.expm1((-writesPerS * seconds) / pages);
  }, 0);
}

/** U(t) of a guest that writes one page after the other until its working set is through. */
export function linearSaturating(workingSet: number, dirtyRate: number, seconds: number): number {
  return Math.min(workingSet, dirtyRate * seconds);
}

/** Rounds of a guest whose distinct dirty pages are known for any time (Nathan et al., SoCC 2015). */
export function uniqueRounds(
  memory: number,
  rate: number,
  dirtyAfter: (seconds: number) => number,
  roundCount: number,
): number[] {
  const rounds = [memory];
  while (rounds.length <= roundCount) rounds.push(dirtyAfter(rounds.at(-1)! / rate));
  return rounds;
}

const FIXED_POINT_STEPS_MAX = 100_000;
const FIXED_POINT_PRECISION = 1e-9;

/**
 * What rounds come to however many there are: n = U(n / r), the floor of the downtime. 0 when the guest writes no
 * faster than is sent.
 */
export function fixedPoint(memory: number, rate: number, dirtyAfter: (seconds: number) => number): number {
  // Steffensen's method over the rounds' own recurrence, which alone is slow near its end.
  let size = memory;
  for (let step = 0; step < FIXED_POINT_STEPS_MAX; step++) {
    const next = dirtyAfter(size / rate);
    const afterNext = dirtyAfter(next / rate);
    const bend = afterNext - 2 * next + size;
    if (Math.abs(next - size) <= FIXED_POINT_PRECISION * memory || bend === 0) return Math.max(0, afterNext);
    const leap = size - (next - size) ** 2 / bend;
    // A leap out of what the rounds themselves allow is none.
    size = leap >= 0 && leap <= afterNext ? leap : afterNext;
  }
  return size;
}

/**
 * A round that leaves out pages which are dirty again when their turn comes (Xen's skip technique).
 *
 * @param pageWritesPerS how often each of these pages is written
 * @param rate pages per second
 * @returns how long the round takes and how many pages it sends; the others wait for a later round
 */
export function skipRound(
  pages: number,
  pageWritesPerS: number,
  rate: number,
): { readonly seconds: number; readonly sent: number } {
  if (pageWritesPerS === 0) return { seconds: pages / rate, sent: pages };
  const seconds = Math.log1p((pageWritesPerS * pages) / rate) / pageWritesPerS;
  return { seconds, sent: seconds * rate };
}
