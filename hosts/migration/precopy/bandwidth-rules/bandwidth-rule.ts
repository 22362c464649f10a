/** The bandwidth rule of a migration, by its options; `fixed` needs nobody who steers. */

import { convergenceOf } from '../../../../proto/convergence.ts';
import { BandwidthRule } from '../../../../proto/generated/godwit/v1/migration.ts';
import type { LinkEstimator } from '../../link-estimator.ts';
import type { PageSender } from '../../page-sender.ts';
import type { SourceParts } from '../../source-parts.ts';
import type { DecisionLog } from '../decision-log.ts';
import type { Governor } from '../governor.ts';
import { ClarkRule } from './clark.ts';
import { DelayRule } from './delay.ts';

/** What a rule works with. */
interface Steered {
  readonly parts: Pick<SourceParts, 'data'>;
  readonly pageSender: PageSender;
  readonly link: LinkEstimator;
  readonly log: DecisionLog;
}

export function bandwidthRuleOf({ parts, pageSender, link, log }: Steered): Governor | undefined {
  const { options } = parts.data;
  const { maxBandwidthBytesPerS: max } = options;
  const { bandwidthRule, minBandwidthBytesPerS } = convergenceOf(options);
  switch (bandwidthRule) {
    case BandwidthRule.BANDWIDTH_RULE_CLARK:
      return new ClarkRule(pageSender, log, minBandwidthBytesPerS, max);
    case BandwidthRule.BANDWIDTH_RULE_DELAY:
      return new DelayRule(pageSender, link, log, max);
    case BandwidthRule.BANDWIDTH_RULE_FIXED:
    case BandwidthRule.BANDWIDTH_RULE_UNSPECIFIED:
      return undefined;
  }
}
