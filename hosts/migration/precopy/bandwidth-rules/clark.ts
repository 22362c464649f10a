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
import { clarkMaxBytesPerS, clarkRateBytesPerS } from '../stop-rules/clark.ts';

export class ClarkRule implements Governor {
  readonly #pageSender: PageSender;
  readonly #log: DecisionLog;
  readonly #minBytesPerS: number;
  readonly #maxBytesPerS: number;
  /** Of the rounds. */
  readonly #mostBytesPerS: number;
  #bytesPerS = 0;
  #isOver = false;

  /** @param maxBytesPerS 0 for the paper's maximum, and for none in the pause */
  constructor(pageSender: PageSender, log: DecisionLog, minBytesPerS: number, maxBytesPerS: number) {
    this.#pageSender = pageSender;
    this.#log = log;
    this.#minBytesPerS = minBytesPerS;
    this.#maxBytesPerS = maxBytesPerS;
    this.#mostBytesPerS = clarkMaxBytesPerS({ maxBandwidthBytesPerS: maxBytesPerS });
    this.#take(Math.min(minBytesPerS, this.#mostBytesPerS), 'the first round begins');
  }

  tick(): void {}

  roundEnded({ dirtyRatePagesPerS, pageBytes, round }: PrecopyView): void {
    const wanted = Math.max(clarkRateBytesPerS(dirtyRatePagesPerS, pageBytes), this.#minBytesPerS);
    const bytesPerS = Math.min(wanted, this.#mostBytesPerS);
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
