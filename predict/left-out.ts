/** What a prediction does not reckon with, of what a migration is asked to do: it is told, not passed over. */

import {
  BANDWIDTH_RULES,
  convergenceOf,
  DOWNTIME_RAMPS,
  FREE_PAGES,
  type RuleNames,
  SKIPS,
  STOP_RULES,
  THROTTLES,
} from '../proto/convergence.ts';
import { DedupScope, type MigrationOptions, PostcopyPush } from '../proto/generated/godwit/v1/migration.ts';
import { transformsOf } from '../proto/transforms.ts';

/** Names of options with their values, such as "throttle auto-converge"; empty when everything is reckoned with. */
export function leftOut(options: MigrationOptions): string {
  const isLate = options.technique === 'post-copy' || options.technique === 'hybrid';
  const isIterative = options.technique === 'pre-copy' || options.technique === 'hybrid';
  const { dedup, deltaCacheBytes } = transformsOf(options);
  const parts = [
    ...(isIterative ? rulesLeftOut(options) : []),
    dedup === DedupScope.DEDUP_SCOPE_NONE ? '' : 'dedup',
    isIterative && deltaCacheBytes > 0n ? 'delta' : '',
    isLate && options.push === PostcopyPush.POSTCOPY_PUSH_NONE ? 'push none' : '',
    options.technique === 'hybrid' && options.hotSet > 0 ? 'hot-set' : '',
    options.failpoints.length > 0 ? 'failpoints' : '',
  ];
  return parts.filter((part) => part !== '').join(', ');
}

function rulesLeftOut(options: MigrationOptions): string[] {
  const asked = convergenceOf(options);
  const other = (what: string, rules: RuleNames<string, number>, value: number, known: string): string => {
    const name = rules.nameOf(value) ?? known;
    return name === known ? '' : `${what} ${name}`;
  };
  return [
    other('stop-rule', STOP_RULES, asked.stopRule, 'downtime-limit'),
    other('downtime-ramp', DOWNTIME_RAMPS, asked.downtimeRamp, 'none'),
    other('throttle', THROTTLES, asked.throttle, 'none'),
    other('skip', SKIPS, asked.skip, 'none'),
    asked.dirtyLast ? 'dirty-last' : '',
    other('free-pages', FREE_PAGES, asked.freePages, 'none'),
    other('bandwidth-rule', BANDWIDTH_RULES, asked.bandwidthRule, 'fixed'),
    asked.completionTimeoutPerGibMs > 0 ? 'completion-timeout-per-gib' : '',
    asked.progressTimeoutMs > 0 ? 'progress-timeout' : '',
  ];
}
