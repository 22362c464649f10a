/**
 * The random choices of a load generator: when requests are due, and what they ask. The same seed, the same
 * choices.
 */

import type { LoadSettings } from '../proto/client-load.ts';
import { RequestOperation } from '../proto/guest-request.ts';

const UINT32 = 2 ** 32;

/** Fractions in [0, 1) (mulberry32, Tommy Ettinger 2017). */
function randomFractions(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / UINT32;
  };
}

export interface Choice {
  readonly key: number;
  readonly operation: RequestOperation;
}

export class Arrivals {
  readonly #fraction: () => number;
  readonly #settings: LoadSettings;

  constructor(settings: LoadSettings) {
    this.#settings = settings;
    this.#fraction = randomFractions(settings.seed);
  }

  /** From one request's time to the next one's, ms. */
  nextIntervalMs(): number {
    const meanMs = 1000 / this.#settings.ratePerS;
    if (this.#settings.arrivals === 'constant') return meanMs;
    return -Math.log(1 - this.#fraction()) * meanMs;
  }

  nextChoice(): Choice {
    const { keys, read } = this.#settings;
    const key = Math.floor(this.#fraction() * keys);
    return { key, operation: this.#fraction() < read ? RequestOperation.GET : RequestOperation.SET };
  }
}
