/**
 * The rule of Xen's migration v2 (simple_precopy_policy in libxenguest): stop when fewer than 50 pages are dirty, or
 * after five rounds. It pays no heed to a downtime limit.
 */

import type { StopRule, StopVerdict, StopView } from './stop-rule.ts';

/** SPP_MAX_ITERATIONS. */
const ROUNDS_MAX = 5;
/** SPP_TARGET_DIRTY_COUNT. */
const FEW_PAGES = 50;

export class XenV2Rule implements StopRule {
  roundEnded({ dirtyPages, rounds }: StopView): StopVerdict | undefined {
    if (dirtyPages < FEW_PAGES) {
      return { reason: 'few-pages', because: `${dirtyPages} pages are dirty, fewer than ${FEW_PAGES}` };
    }
    if (rounds.length < ROUNDS_MAX) return undefined;
    return { reason: 'max-iterations', because: `${rounds.length} rounds` };
  }
}
