/**
 * CloudNet's Smart Stop (Wood et al., VEE 2011): more rounds help only as long as what remains becomes less. Once
 * that has stopped, the rule waits for a round that leaves no more than those of its window did, a local minimum.
 * Where little remains it ends as Xen, which it was built for. The window's width is this project's. It pays no heed
 * to a downtime limit.
 */

import type { StopRule, StopVerdict, StopView } from './stop-rule.ts';

/** Rounds before the newest with which it is compared. */
const WINDOW_ROUNDS = 5;
const FEW_PAGES = 50;

export class SmartStopRule implements StopRule {
  /** What the newest rounds left dirty, oldest first. */
  readonly #counts: number[] = [];
  #hasStoppedFalling = false;

  roundEnded({ dirtyPages, roundPages }: StopView): StopVerdict | undefined {
    if (dirtyPages < FEW_PAGES) {
      return { reason: 'few-pages', because: `${dirtyPages} pages are dirty, fewer than ${FEW_PAGES}` };
    }
    const before = this.#counts.at(-1) ?? roundPages;
    this.#hasStoppedFalling ||= dirtyPages >= before;
    const least = Math.min(before, ...this.#counts);
    this.#counts.push(dirtyPages);
    if (this.#counts.length > WINDOW_ROUNDS) this.#counts.shift();
    if (!this.#hasStoppedFalling || dirtyPages > least) return undefined;
    return {
      reason: 'local-minimum',
      because: `${dirtyPages} pages are dirty, no more than after the rounds before, and rounds no longer help`,
    };
  }
}
