/** Who steers the rounds of a migration, by its options. A new governor is a file beside this one and a line here. */

import type { LinkEstimator } from '../link-estimator.ts';
import type { PageSender } from '../page-sender.ts';
import type { SourceParts } from '../source-parts.ts';
import { bandwidthRuleOf } from './bandwidth-rules/bandwidth-rule.ts';
import type { DecisionLog } from './decision-log.ts';
import type { Governor } from './governor.ts';
import { throttlesOf } from './throttles/registry.ts';
import type { Reins } from './throttles/reins.ts';

export interface GovernorContext {
  readonly parts: SourceParts;
  readonly pageSender: PageSender;
  readonly link: LinkEstimator;
  readonly log: DecisionLog;
  /** When a rule is to slow the guest. */
  readonly reins: Reins | undefined;
}

export function governorsOf(context: GovernorContext): Governor[] {
  const bandwidthRule = bandwidthRuleOf(context);
  return [
    ...throttlesOf(context.reins, context.log),
    ...(bandwidthRule === undefined ? [] : [bandwidthRule]),
  ];
}
