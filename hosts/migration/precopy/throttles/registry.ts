/** The rules that slow a guest. A new one is a file beside this one, a name in the contract and a line here. */

import type { ThrottleName } from '../../../../proto/convergence.ts';
import type { DecisionLog } from '../decision-log.ts';
import type { Governor } from '../governor.ts';
import { AutoConverge } from './auto-converge.ts';
import { DirtyLimit } from './dirty-limit.ts';
import type { Reins } from './reins.ts';
import { Sdps } from './sdps.ts';
import { Stunning } from './stunning.ts';
import { ThrottleGovernor, type ThrottleRule } from './throttle-rule.ts';

type RuleMaker = new (reins: Reins, log: DecisionLog) => ThrottleRule;

const RULES: Readonly<Record<Exclude<ThrottleName, 'none'>, RuleMaker>> = {
  'auto-converge': AutoConverge,
  'dirty-limit': DirtyLimit,
  sdps: Sdps,
  stunning: Stunning,
};

/** The rule that the options ask for, as a governor; none without reins. */
export function throttlesOf(reins: Reins | undefined, log: DecisionLog): Governor[] {
  if (reins === undefined || reins.rule === 'none') return [];
  return [new ThrottleGovernor(reins, log, new RULES[reins.rule](reins, log))];
}
