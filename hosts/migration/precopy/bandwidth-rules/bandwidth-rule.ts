/** The bandwidth rule of a migration, by its options; `fixed` needs nobody who steers. */

import { convergenceOf } from '../../../../proto/convergence.ts';
import { BandwidthRule } from '../../../../proto/generated/godwit/v1/migration.ts';
import type { Governor } from '../governor.ts';
import type { GovernorContext } from '../governors.ts';
import { ClarkRule } from './clark.ts';
import { DelayRule } from './delay.ts';

export function bandwidthRuleOf({ parts, pageSender, link, log }: GovernorContext): Governor | undefined {
  const { options } = parts.data;
  const { maxBandwidthBytesPerS: max } = options;
  const { bandwidthRule, minBandwidthBytesPerS } = convergenceOf(options);
  switch (bandwidthRule) {
    case BandwidthRule.BANDWIDTH_RULE_CLARK:
      return new ClarkRule(pageSender, log, minBandwidthBytesPerS, max);
    case BandwidthRule.BANDWIDTH_RULE_DELAY:
      return new DelayRule(pageSender, link, log, max);
    default:
      return undefined;
  }
}
