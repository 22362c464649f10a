/**
 * How much of a link to take so that others do not wait: keeps the queue before it at a few ms, whoever fills it, and
 * yields when it becomes longer (LEDBAT, RFC 6817; Vegas). Unlike those it steers a rate, and it knows what the link
 * gives (BBR's rate of delivery), so that it comes back to that at once and does not search for it. Pure; times are ms.
 *
 * Where nobody waits it takes twice as much every step at first, and later half as much more. From time to time it
 * sends half as much for a step: the shortest way, from which the queue is reckoned, can only be seen without its own
 * queue.
 */

export const DELAY_RULE = {
  /** The queue that it keeps. RFC 6817 allows up to 100 ms. */
  targetMs: 8,
  /** A shorter one may be threads that wait, not bytes. */
  queuedMs: 4,
  startBytesPerS: 8_000_000,
  /** Frames and catching up under this rule make no queue to speak of. */
  evenness: { frameMs: 2, burstMs: 20 },
  stepMs: 50,
  startFactor: 2,
  /** When nobody has waited for so many steps. */
  freeSteps: 3,
  freeFactor: 1.5,
  riseFactor: 1.05,
  /** Near the target, per target that the queue is shorter. */
  riseGain: 0.1,
  /** A queue is to be gone in so many steps, for which at most this share is given up. */
  drainSteps: 2,
  fallMax: 0.7,
  longMs: 30,
  /** And no step leaves less than this share. */
  fallFactorMin: 0.25,
  /** What the link gave is forgotten slowly, and faster when a queue is drained; up to a share of it it rises fast. */
  memory: 0.98,
  fallMemory: 0.8,
  returnShare: 0.95,
  /** Whoever did not use this share of what it might take does not know that it could take more. */
  usedShare: 0.5,
  /** At first: as long as this share of what it sends arrives, and no long queue waits, the link is not full. */
  carriedShare: 0.9,
  drainEveryMs: 4000,
  drainFactor: 0.5,
  /** It does not starve itself where others fill every queue: this share of the most that the link gave. */
  floorShare: 0.05,
  floorBytesPerS: 65_536,
} as const;

/** What was seen since the last step. */
export interface DelaySample {
  readonly nowMs: number;
  /** The least that bytes waited; undefined when none arrived. */
  readonly queueMs: number | undefined;
  /** What the link gives; undefined while that is not known. */
  readonly bandwidthBytesPerS: number | undefined;
  /** What arrived; undefined while that is not known. */
  readonly arrivedBytesPerS: number | undefined;
  /** The shortest way there and back; undefined while it is not known. */
  readonly roundTripMs: number | undefined;
}

export class DelayControl {
  readonly #maxBytesPerS: number;
  #bytesPerS: number;
  #mostBytesPerS = 0;
  /** The most that the link gave lately: back to there it goes fast. */
  #givenBytesPerS = 0;
  #isStarting = true;
  #isQueued = false;
  #freeSteps = 0;
  #nextStepMs = Number.NEGATIVE_INFINITY;
  #drainAtMs: number | undefined;
  /** What is to be taken again when the queue has been drained. */
  #isDraining = false;
  #hasDrained = false;

  /** @param maxBytesPerS 0 for unlimited */
  constructor(maxBytesPerS: number) {
    this.#maxBytesPerS = maxBytesPerS === 0 ? Number.POSITIVE_INFINITY : maxBytesPerS;
    this.#bytesPerS = Math.min(DELAY_RULE.startBytesPerS, this.#maxBytesPerS);
  }

  /** What to take now, bytes per second. */
  get bytesPerS(): number {
    return this.#isDraining ? this.#bytesPerS * DELAY_RULE.drainFactor : this.#bytesPerS;
  }

  /** Whether it is time to look again: what was done before is seen by now. */
  isDue(nowMs: number): boolean {
    return nowMs >= this.#nextStepMs;
  }

  step(sample: DelaySample): void {
    const { nowMs, bandwidthBytesPerS, roundTripMs = 0 } = sample;
    this.#nextStepMs = nowMs + stepMs(roundTripMs);
    this.#drainAtMs ??= nowMs + DELAY_RULE.drainEveryMs;
    this.#mostBytesPerS = Math.max(this.#mostBytesPerS, bandwidthBytesPerS ?? 0);
    if (this.#isDraining || this.#hasDrained) {
      // What is seen now is the drain's, and not what the rate leads to.
      this.#hasDrained = this.#isDraining;
      this.#isDraining = false;
      return;
    }
    this.#steer(sample);
    if (nowMs < this.#drainAtMs) return;
    this.#isDraining = !this.#isStarting;
    this.#drainAtMs = nowMs + DELAY_RULE.drainEveryMs;
  }

  #steer(sample: DelaySample): void {
    const { queueMs, bandwidthBytesPerS = 0, arrivedBytesPerS = 0 } = sample;
    if (queueMs === undefined) return;
    const { targetMs, queuedMs, memory, riseGain, usedShare } = DELAY_RULE;
    const wasQueued = this.#isQueued;
    this.#isQueued = queueMs >= queuedMs;
    this.#freeSteps = this.#isQueued ? 0 : this.#freeSteps + 1;
    this.#givenBytesPerS = Math.max(bandwidthBytesPerS, this.#givenBytesPerS * memory);
    if (queueMs > targetMs) {
      // A thread that did not run makes a queue as well, which is gone by the next step.
      if (wasQueued) this.#drain(sample, queueMs);
    } else if (this.#isQueued) this.#take(this.#bytesPerS * (1 + riseGain * (1 - queueMs / targetMs)));
    else if (arrivedBytesPerS >= this.#bytesPerS * usedShare) this.#rise();
  }

  #drain(sample: DelaySample, queueMs: number): void {
    const { bandwidthBytesPerS, arrivedBytesPerS, roundTripMs = 0 } = sample;
    const { targetMs, longMs, carriedShare, fallMemory, drainSteps, fallMax, fallFactorMin } = DELAY_RULE;
    const isLong = queueMs > longMs;
    const isCarried = !isLong && (arrivedBytesPerS ?? 0) >= this.#bytesPerS * carriedShare;
    if (this.#isStarting && isCarried) return;
    this.#isStarting = false;
    this.#givenBytesPerS = Math.max(bandwidthBytesPerS ?? 0, this.#givenBytesPerS * fallMemory);
    const known = bandwidthBytesPerS ?? this.#bytesPerS;
    // Of a queue that has just become so long, what arrives now knows more than the mean of a longer time.
    const given = isLong ? Math.min(known, arrivedBytesPerS ?? known) : known;
    const share = Math.min((queueMs - targetMs / 2) / (drainSteps * stepMs(roundTripMs)), fallMax);
    this.#take(Math.max(given * (1 - share), this.#bytesPerS * fallFactorMin));
  }

  #rise(): void {
    const { startFactor, returnShare, freeSteps, freeFactor, riseFactor } = DELAY_RULE;
    const known = this.#givenBytesPerS * returnShare;
    if (this.#isStarting) this.#take(this.#bytesPerS * startFactor);
    else if (this.#bytesPerS < known) this.#take(Math.min(this.#bytesPerS * startFactor, known));
    else this.#take(this.#bytesPerS * (this.#freeSteps > freeSteps ? freeFactor : riseFactor));
  }

  #take(bytesPerS: number): void {
    const { floorShare, floorBytesPerS } = DELAY_RULE;
    const floor = Math.max(this.#mostBytesPerS * floorShare, floorBytesPerS);
    this.#bytesPerS = Math.min(Math.max(bytesPerS, floor), this.#maxBytesPerS);
  }
}

/** What was done is seen a way there and back later. */
function stepMs(roundTripMs: number): number {
  return Math.max(DELAY_RULE.stepMs, roundTripMs);
}
