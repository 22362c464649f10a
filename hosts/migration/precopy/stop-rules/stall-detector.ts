/**
 * KubeVirt's stall detector (VEP 248, stall-detector.go). The rounds go on while the least that remained after a
 * round is undercut within the window by more than a margin. Once it is not, the guest is stalled: then the rule
 * waits for a round that leaves about as little as the best one did, a local minimum, and lowers its sights when
 * none comes, after half the time each time. QEMU's own rule holds all the while.
 *
 * What happens at the minimum is `on-timeout`'s to say: post-copy, or a pause however long. Only with `abort` the
 * rule weighs how long the pause would be: within 1.5 times the limit it waits a minute for a round that fits,
 * beyond it gives up. Of KubeVirt's it lacks the completion deadline (`completion-timeout-per-gib` is one of its
 * own), and it takes a sample of the bandwidth after each round in place of every 400 ms.
 */

import { convergenceOf } from '../../../../proto/convergence.ts';
import { OnTimeout } from '../../../../proto/generated/godwit/v1/migration.ts';
import { fits, fitsText } from './downtime-limit.ts';
import type { StopRule, StopRuleContext, StopVerdict, StopView } from './stop-rule.ts';

/** stallMargin. */
const MARGIN = 0.04;
/** ewmaAlpha. */
const ALPHA = 0.4;
/** patienceWindowDecayFactor. */
const PATIENCE_DECAY = 0.5;
/** precopyPossibleFactor: of the downtime limit. */
const POSSIBLE_FACTOR = 1.5;
/** switchoverTimeout. */
const SWITCHOVER_TIMEOUT_MS = 60_000;
const MS_PER_S = 1000;

/** What remained after a round. */
interface Remainder {
  readonly atMs: number;
  readonly bytes: number;
}

/** From the moment when the guest was found stalled. */
interface Stall {
  /** What a round is to come close to. */
  bestBytes: number;
  /** Remainders since, in ascending order, but those that have been the best. */
  readonly later: number[];
  patienceMs: number;
  deadlineMs: number;
}

export class StallDetectorRule implements StopRule {
  readonly #options: StopRuleContext['options'];
  readonly #note: StopRuleContext['note'];
  readonly #windowMs: number;
  /** Of the window: each less than those before it. */
  readonly #minima: Remainder[] = [];
  /** The least of what is older than the window. */
  #leastBefore: number | undefined;
  #bandwidthBytesPerS: number | undefined;
  #stall: Stall | undefined;
  /** Until then it waits for a round that fits. */
  #untilMs: number | undefined;

  constructor({ options, note }: StopRuleContext) {
    this.#options = options;
    this.#note = note;
    this.#windowMs = convergenceOf(options).stallProgressTimeoutMs;
  }

  roundEnded(view: StopView): StopVerdict | undefined {
    this.#sample(view.bandwidthBytesPerS);
    // Who waits for such a round waits for no ramp: KubeVirt sets all of the limit then.
    const { downtimeLimitMs } = this.#untilMs === undefined ? view : this.#options;
    if (fits({ ...view, downtimeLimitMs })) return { reason: 'converged', because: fitsText(view) };
    if (this.#untilMs !== undefined) {
      return view.nowMs < this.#untilMs ? undefined : stalled('no round came that fits the downtime limit');
    }
    if (this.#bandwidthBytesPerS === undefined) return undefined;
    const bytes = view.dirtyPages * view.pageBytes;
    this.#take({ atMs: view.nowMs, bytes });
    if (this.#stall !== undefined) this.#relax(this.#stall, view.nowMs, bytes);
    else if (this.#isStalled(bytes)) this.#stall = this.#begin(view.nowMs);
    if (this.#stall === undefined || bytes > this.#stall.bestBytes * (1 + MARGIN)) return undefined;
    return this.#atMinimum(view, bytes, (bytes / this.#bandwidthBytesPerS) * MS_PER_S);
  }

  #sample(bandwidthBytesPerS: number): void {
    if (!(bandwidthBytesPerS > 0)) return;
    const before = this.#bandwidthBytesPerS ?? bandwidthBytesPerS;
    this.#bandwidthBytesPerS = ALPHA * bandwidthBytesPerS + (1 - ALPHA) * before;
  }

  #take(remainder: Remainder): void {
    let oldest = this.#minima[0];
    while (oldest !== undefined && remainder.atMs - oldest.atMs >= this.#windowMs) {
      this.#leastBefore = Math.min(this.#leastBefore ?? oldest.bytes, oldest.bytes);
      this.#minima.shift();
      oldest = this.#minima[0];
    }
    const least = this.#minima.at(-1)?.bytes ?? this.#leastBefore;
    if (least === undefined || remainder.bytes < least) this.#minima.push(remainder);
  }

  #isStalled(bytes: number): boolean {
    return this.#leastBefore !== undefined && bytes >= this.#leastBefore * (1 - MARGIN);
  }

  #begin(nowMs: number): Stall {
    const bestBytes = Math.min(this.#leastBefore ?? Infinity, ...this.#minima.map(({ bytes }) => bytes));
    this.#note(`stalled: what remains no longer becomes less, ${kibibytes(bestBytes)} at best`, bestBytes);
    return { bestBytes, later: [], patienceMs: this.#windowMs, deadlineMs: nowMs + this.#windowMs };
  }

  /** No round came close to the best: the least of those since is the new best. */
  #relax(stall: Stall, nowMs: number, bytes: number): void {
    stall.later.push(bytes);
    stall.later.sort((a, b) => a - b);
    if (nowMs < stall.deadlineMs) return;
    stall.bestBytes = stall.later.shift() as number;
    stall.patienceMs *= PATIENCE_DECAY;
    stall.deadlineMs = nowMs + stall.patienceMs;
    this.#note(`waits for ${kibibytes(stall.bestBytes)} to remain`, stall.bestBytes);
  }

  #atMinimum({ nowMs }: StopView, bytes: number, expectedMs: number): StopVerdict | undefined {
    const { onTimeout, downtimeLimitMs } = this.#options;
    const isBearable = expectedMs <= downtimeLimitMs * POSSIBLE_FACTOR;
    if (onTimeout !== OnTimeout.ON_TIMEOUT_ABORT || !isBearable) {
      return stalled(`${kibibytes(bytes)} remain at a local minimum, about ${expectedMs.toFixed(0)} ms`);
    }
    this.#untilMs = nowMs + SWITCHOVER_TIMEOUT_MS;
    this.#note('waits a minute for a round that fits the downtime limit', downtimeLimitMs);
    return undefined;
  }
}

function stalled(because: string): StopVerdict {
  return { reason: 'stalled', because, isTimeout: true };
}

function kibibytes(bytes: number): string {
  return `${Math.round(bytes / 1024)} KiB`;
}
