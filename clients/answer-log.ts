/**
 * Every answer of a load generator: when its request was due and when it came. From these follow, once it is
 * known when the guest moved, the latencies of each phase and the longest time without an answer.
 */

import { build, type Histogram } from 'hdr-histogram-js';
import type { Gap, LatencySummary, LoadReport, MigrationWindow } from '../proto/client-load.ts';
import { LOAD_LIMITS } from './limits.ts';

/**
 * The gap is looked for from a little before the migration until the guest has been at its new place for a
 * while.
 */
const GAP_BEFORE_MS = 100;
const GAP_AFTER_MS = 1000;

const US_PER_MS = 1000;
const FIRST_CAPACITY = 4096;

export class AnswerLog {
  /** Due and come, in turn; in the order of coming. */
  #times = new Float64Array(2 * FIRST_CAPACITY);
  #count = 0;

  /**
   * @param dueMs when the request was due, and `cameMs` when its answer came, CLOCK_MONOTONIC
   * @throws Error when there is no room for more
   */
  add(dueMs: number, cameMs: number): void {
    if (this.#count === LOAD_LIMITS.samplesMax) {
      throw new Error(
        `${this.#count} answers are more than a load generator remembers; ask for a lower rate or a shorter time`,
      );
    }
    if (2 * this.#count === this.#times.length) {
      const larger = new Float64Array(2 * this.#times.length);
      larger.set(this.#times);
      this.#times = larger;
    }
    this.#times[2 * this.#count] = dueMs;
    this.#times[2 * this.#count + 1] = cameMs;
    this.#count++;
  }

  /** @param window undefined: all is before it */
  latencies(window: MigrationWindow | undefined): LoadReport['latencyMs'] {
    const { fromMs, toMs } = window ?? { fromMs: Number.POSITIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };
    const phases = { before: newHistogram(), during: newHistogram(), after: newHistogram() };
    for (const [dueMs, cameMs] of this.#answers()) {
      const phase = dueMs < fromMs ? phases.before : dueMs <= toMs ? phases.during : phases.after;
      const latencyMs = Math.min(Math.max(cameMs - dueMs, 0), LOAD_LIMITS.latencyMsMax);
      phase.recordValue(Math.round(latencyMs * US_PER_MS));
    }
    return {
      before: summary(phases.before),
      during: summary(phases.during),
      after: summary(phases.after),
    };
  }

  /**
   * The longest time without an answer; null when nothing was measured, or when no request that was due after the
   * window had an answer: then its end was not seen.
   *
   * @param window undefined: of all the time from the first answer on
   * @param endMs when the load ended: what comes later was not watched
   */
  gap(window: MigrationWindow | undefined, endMs: number): Gap | null {
    const { fromMs, toMs } = window ?? { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };
    const firstMs = this.#count === 0 ? Number.POSITIVE_INFINITY : this.#times[1]!;
    const begin = Math.max(fromMs - GAP_BEFORE_MS, firstMs);
    const end = Math.min(toMs + GAP_AFTER_MS, endMs);
    if (end <= begin || (window !== undefined && !this.#isAnsweredAfter(toMs))) return null;
    let longest: Gap = { ms: 0, atMs: begin };
    let lastMs = begin;
    const silence = (untilMs: number): void => {
      if (untilMs - lastMs > longest.ms) longest = { ms: untilMs - lastMs, atMs: lastMs };
      lastMs = untilMs;
    };
    for (const [, cameMs] of this.#answers()) if (cameMs > begin && cameMs < end) silence(cameMs);
    silence(end);
    return longest;
  }

  #isAnsweredAfter(atMs: number): boolean {
    for (const [dueMs] of this.#answers()) if (dueMs > atMs) return true;
    return false;
  }

  *#answers(): Generator<[dueMs: number, cameMs: number]> {
    for (let index = 0; index < this.#count; index++) {
      yield [this.#times[2 * index]!, this.#times[2 * index + 1]!];
    }
  }
}

/** Of microseconds, exact to a thousandth. */
function newHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LOAD_LIMITS.latencyMsMax * US_PER_MS,
    numberOfSignificantValueDigits: 3,
  });
}

function summary(histogram: Histogram): LatencySummary {
  const count = histogram.totalCount;
  const at = (percent: number): number | null =>
    count === 0 ? null : histogram.getValueAtPercentile(percent) / US_PER_MS;
  return { count, p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: at(100) };
}
