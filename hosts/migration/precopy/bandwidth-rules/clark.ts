/**
 * Clark et al.'s dynamic rate limit (NSDI 2005): the first round takes little of the link, each later one what the
 * guest dirtied in the round before and 50 Mbit/s more, up to the administrator's maximum. So a quiet guest costs its
 * neighbours little, and a busy one still converges.
 */

import { BandwidthLimit } from '../../bandwidth-limit.ts';
import type { PageSender } from '../../page-sender.ts';
import type { DecisionLog } from '../decision-log.ts';
import type { Governor } from '../governor.ts';
import type { PrecopyView } from '../precopy-view.ts';

/** 50 Mbit/s. */
const INCREMENT_BYTES_PER_S = 6_250_000;
/** 500 Mbit/s, the paper's maximum, where no other is set. */
const MAX_BYTES_PER_S = 62_500_000;

/** What a round takes after one in which so much became dirty, bytes per second. */
export function clarkBytesPerS(dirtyBytesPerS: number, minBytesPerS: number, maxBytesPerS: number): number {
  const most = maxBytesPerS === 0 ? MAX_BYTES_PER_S : maxBytesPerS;
  return Math.min(Math.max(dirtyBytesPerS + INCREMENT_BYTES_PER_S, minBytesPerS), most);
}

export class ClarkRule implements Governor {
  readonly #pageSender: PageSender;
  readonly #log: DecisionLog;
  readonly #minBytesPerS: number;
  readonly #maxBytesPerS: number;
  #bytesPerS = 0;
  #isOver = false;

  /** @param maxBytesPerS 0 for the paper's maximum */
  constructor(pageSender: PageSender, log: DecisionLog, minBytesPerS: number, maxBytesPerS: number) {
    this.#pageSender = pageSender;
    this.#log = log;
    this.#minBytesPerS = minBytesPerS;
    this.#maxBytesPerS = maxBytesPerS;
    const least = maxBytesPerS === 0 ? minBytesPerS : Math.min(minBytesPerS, maxBytesPerS);
    this.#take(least, 'the first round begins');
  }

  tick(): void {}

  roundEnded({ dirtyRatePagesPerS, pageBytes, round }: PrecopyView): void {
    const bytesPerS = clarkBytesPerS(dirtyRatePagesPerS * pageBytes, this.#minBytesPerS, this.#maxBytesPerS);
    if (bytesPerS !== this.#bytesPerS) this.#take(bytesPerS, `round ${round} is over`);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pageSender.limit = new BandwidthLimit(this.#maxBytesPerS);
  }

  #take(bytesPerS: number, why: string): void {
    this.#bytesPerS = bytesPerS;
    this.#pageSender.limit = new BandwidthLimit(bytesPerS);
    this.#log.note('clark', `${why}: takes ${(bytesPerS / 1e6).toFixed(1)} MB/s of the link`, bytesPerS);
  }
}
