/**
 * The rule of p.haul, CRIU's migration (phaul/iters.py): stop when a round had 64 pages or fewer, when it had over
 * 10 % more than the one before it, or when the round with the index 8, the ninth, is over. It pays no heed to a
 * downtime limit.
 */

import { lastSent, type StopRule, type StopVerdict, type StopView, sentBefore } from './stop-rule.ts';

/** MAX_ITERS_COUNT; indices begin with 0. */
const INDEX_MAX = 8;
/** MIN_ITER_PAGES_COUNT. */
const FEW_PAGES = 64;
/** MAX_ITER_GROW_RATE, percent. */
const GROWTH_MAX = 10;

export class PhaulRule implements StopRule {
  roundEnded(view: StopView): StopVerdict | undefined {
    const sent = lastSent(view);
    const before = sentBefore(view);
    if (sent <= FEW_PAGES) return { reason: 'few-pages', because: `the round sent ${sent} pages` };
    if (before !== undefined && sent * 100 > before * (100 + GROWTH_MAX)) {
      return { reason: 'grew', because: `the round sent ${sent} pages, the one before it ${before}` };
    }
    if (view.rounds.length - 1 < INDEX_MAX) return undefined;
    return { reason: 'max-iterations', because: `${view.rounds.length} rounds` };
  }
}
