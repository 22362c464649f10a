/** Who steers the rounds of a migration, by its options. A new governor is a file beside this one and a line here. */

import type { LinkEstimator } from '../link-estimator.ts';
import type { PageSender } from '../page-sender.ts';
import type { SourceParts } from '../source-parts.ts';
import { bandwidthRuleOf } from './bandwidth-rules/bandwidth-rule.ts';
import type { DecisionLog } from './decision-log.ts';
import type { Governor } from './governor.ts';

export interface GovernorContext {
  readonly parts: SourceParts;
  readonly pageSender: PageSender;
  readonly link: LinkEstimator;
  readonly log: DecisionLog;
}

export function governorsOf(context: GovernorContext): Governor[] {
  return [bandwidthRuleOf(context)].filter((governor) => governor !== undefined);
}
