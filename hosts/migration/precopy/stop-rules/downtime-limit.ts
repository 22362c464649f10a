/**
 * QEMU's rule (migration_iteration_run in migration/migration.c): switch over once what is dirty can be sent within
 * the downtime limit at the bandwidth that was measured. While that is not known, nothing is taken to fit.
 */

import type { StopRule, StopVerdict, StopView } from './stop-rule.ts';

export class DowntimeLimitRule implements StopRule {
  roundEnded(view: StopView): StopVerdict | undefined {
    return fits(view) ? { reason: 'converged', because: fitsText(view) } : undefined;
  }
}

/** Whether the dirty pages are expected to fit the downtime limit. */
export function fits({ expectedDowntimeMs, downtimeLimitMs }: StopView): boolean {
  return expectedDowntimeMs !== undefined && expectedDowntimeMs <= downtimeLimitMs;
}

export function fitsText({ dirtyPages }: StopView): string {
  return `${dirtyPages} dirty pages fit the downtime limit`;
}
