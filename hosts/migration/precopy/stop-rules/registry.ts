/**
 * Every stop rule by its name. A new one is a file beside this one, a name in proto/convergence.ts, and a line
 * here.
 */

import type { StopRuleName } from '../../../../proto/convergence.ts';
import { ClarkRule } from './clark.ts';
import { DowntimeLimitRule } from './downtime-limit.ts';
import { FixedRoundsRule } from './fixed-rounds.ts';
import { PhaulRule } from './phaul.ts';
import { SmartStopRule } from './smart-stop.ts';
import { StallDetectorRule } from './stall-detector.ts';
import type { StopRule, StopRuleContext } from './stop-rule.ts';
import { XenRule } from './xen.ts';
import { XenV2Rule } from './xen-v2.ts';

type Make = (context: StopRuleContext) => StopRule;

export const STOP_RULE_MAKERS: Readonly<Record<StopRuleName, Make>> = {
  'downtime-limit': () => new DowntimeLimitRule(),
  xen: (context) => new XenRule(context),
  'xen-v2': () => new XenV2Rule(),
  clark: (context) => new ClarkRule(context),
  'smart-stop': () => new SmartStopRule(),
  phaul: () => new PhaulRule(),
  'stall-detector': (context) => new StallDetectorRule(context),
  'fixed-rounds': (context) => new FixedRoundsRule(context),
};
