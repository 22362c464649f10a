/**
 * How a guest's operations went over time: the vCPUs' counters, sampled by the main thread with the time at
 * which it really did so. A ring of the last 10 minutes.
 */

import type { OperationSeries as SeriesMessage } from '../../proto/generated/godwit/v1/guest.ts';
import { nowMs } from '../clock.ts';
import { SERIES_INTERVAL_MS, SERIES_SAMPLES_MAX } from './limits.ts';
import { COUNTER_OPERATIONS, COUNTER_PAGE_WRITES, COUNTER_STRIDE, type SharedGuest } from './shared-guest.ts';

/** What a guest has done since it came to this host. */
export interface OperationCounts {
  readonly operations: number;
  readonly pageWrites: number;
}

export class OperationSeries {
  readonly #counters: Float64Array<SharedArrayBuffer>;
  readonly #atMs = new Float64Array(SERIES_SAMPLES_MAX);
  readonly #operations = new Float64Array(SERIES_SAMPLES_MAX);
  readonly #pageWrites = new Float64Array(SERIES_SAMPLES_MAX);
  readonly #standsStill: () => boolean;
  readonly #timer: NodeJS.Timeout;
  /** Samples ever taken; the ring holds the last of them. */
  #sampleCount = 0;
  #runningSinceMs: number | undefined;

  /** @param standsStill whether the guest is held now, by a pause or an audit */
  constructor(shared: SharedGuest, standsStill: () => boolean) {
    this.#standsStill = standsStill;
    this.#counters = new Float64Array(shared.counters);
    this.#timer = setInterval(() => this.#sample(), SERIES_INTERVAL_MS);
    this.#timer.unref();
    this.#sample();
  }

  /** The sample from which on the guest was never held, by this host's clock; undefined while it is. */
  get runningSinceMs(): number | undefined {
    return this.#runningSinceMs;
  }

  /** The counters now. */
  counts(): OperationCounts {
    let operations = 0;
    let pageWrites = 0;
    for (let line = 0; line < this.#counters.length; line += COUNTER_STRIDE) {
      operations += this.#counters[line + COUNTER_OPERATIONS] as number;
      pageWrites += this.#counters[line + COUNTER_PAGE_WRITES] as number;
    }
    return { operations, pageWrites };
  }

  /** The samples from a time of this host's clock (clock.ts) on, as far back as they are kept. */
  since(sinceMs: number): SeriesMessage {
    const series: SeriesMessage = { atMs: [], operations: [], pageWrites: [] };
    const first = Math.max(0, this.#sampleCount - SERIES_SAMPLES_MAX);
    for (let sample = first; sample < this.#sampleCount; sample++) {
      const slot = sample % SERIES_SAMPLES_MAX;
      if ((this.#atMs[slot] as number) < sinceMs) continue;
      series.atMs.push(this.#atMs[slot] as number);
      series.operations.push(this.#operations[slot] as number);
      series.pageWrites.push(this.#pageWrites[slot] as number);
    }
    return series;
  }

  /** Takes a last sample and no more. */
  close(): void {
    clearInterval(this.#timer);
    this.#sample();
  }

  #sample(): void {
    const slot = this.#sampleCount % SERIES_SAMPLES_MAX;
    const { operations, pageWrites } = this.counts();
    const atMs = nowMs();
    if (this.#standsStill()) this.#runningSinceMs = undefined;
    else this.#runningSinceMs ??= atMs;
    this.#atMs[slot] = atMs;
    this.#operations[slot] = operations;
    this.#pageWrites[slot] = pageWrites;
    this.#sampleCount++;
  }
}
