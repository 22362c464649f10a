/**
 * Xen's rule up to 4.5 (xc_domain_save.c): stop after 29 rounds, when a round had fewer than 50 pages, when three
 * times the guest's memory was sent, or when a round sent more than the one before it at the greatest rate. It pays
 * no heed to a downtime limit: what remains is sent in the pause, however long that takes.
 */

import { convergenceOf } from '../../../../proto/convergence.ts';
import { BandwidthRule } from '../../../../proto/generated/godwit/v1/migration.ts';
import { clarkMaxBytesPerS, clarkRateBytesPerS } from './clark.ts';
import {
  lastSent,
  type StopRule,
  type StopRuleContext,
  type StopVerdict,
  type StopView,
  sentBefore,
} from './stop-rule.ts';

/** DEF_MAX_ITERS. */
const ROUNDS_MAX = 29;
/** DEF_MAX_FACTOR: of the guest's memory. */
const FACTOR_MAX = 3;
const FEW_PAGES = 50;

export class XenRule implements StopRule {
  readonly #options: StopRuleContext['options'];

  constructor({ options }: StopRuleContext) {
    this.#options = options;
  }

  roundEnded(view: StopView): StopVerdict | undefined {
    const { pageCount, rounds, roundPages, sentPages } = view;
    const sent = lastSent(view);
    const before = sentBefore(view);
    if (before !== undefined && sent > before && this.#isAtMaxRate(view)) {
      return { reason: 'sent-more', because: `the round sent ${sent} pages, the one before it ${before}` };
    }
    if (rounds.length >= ROUNDS_MAX) return { reason: 'max-iterations', because: `${rounds.length} rounds` };
    // Those that were skipped in it are among them.
    if (roundPages < FEW_PAGES) {
      return { reason: 'few-pages', because: `the round had ${roundPages} pages, fewer than ${FEW_PAGES}` };
    }
    if (sentPages <= FACTOR_MAX * pageCount) return undefined;
    return { reason: 'sent-3x', because: `${sentPages} pages were sent of a memory of ${pageCount}` };
  }

  /** Without Clark's rule of the rate the sender always takes what it may. */
  #isAtMaxRate({ rounds, pageBytes }: StopView): boolean {
    const { bandwidthRule, minBandwidthBytesPerS } = convergenceOf(this.#options);
    if (bandwidthRule !== BandwidthRule.BANDWIDTH_RULE_CLARK) return true;
    // The newest round had the rate that the dirty rate of the one before it asked for.
    const { dirtyRatePagesPerS = 0 } = rounds.at(-2) ?? {};
    const rate = Math.max(clarkRateBytesPerS(dirtyRatePagesPerS, pageBytes), minBandwidthBytesPerS);
    return rate >= clarkMaxBytesPerS(this.#options);
  }
}
