/** What a trial's record says about a guest that was slowed: how much, and what work that cost it. docs/metrics.md. */

import { z } from 'zod';
import type { ThrottleReport } from '../proto/generated/godwit/v1/migration.ts';

const MS_PER_S = 1000;

export const throttleSchema = z.strictObject({
  rule: z.string().describe('auto-converge, dirty-limit, sdps or stunning.'),
  max_percent: z.number().describe('The most that it was slowed at a time.'),
  throttled_ms: z.number().describe('How long vCPUs stood still, all together.'),
  vcpu_throttled_ms: z.array(z.number()).describe('How long each vCPU stood still.'),
  throttled_operations: z
    .number()
    .nullable()
    .describe('What vCPUs would have done in that time at the rate of before; null when that is not known.'),
  lost_operations: z
    .number()
    .nullable()
    .describe('What the guest would have done up to the pause at the rate of before, less what it did.'),
  lost_percent: z.number().nullable().describe('Of what it would have done.'),
});

export type ThrottleRecord = z.infer<typeof throttleSchema>;

/** A guest's work at the source: operations per second before the migration, and from its beginning up to the pause. */
export interface SourceWork {
  readonly beforePerS: number;
  readonly duringPerS: number;
  readonly durationMs: number;
}

/** null when no rule was to slow the guest. @param work undefined when it is not known */
export function throttleRecord(
  report: ThrottleReport | undefined,
  work: SourceWork | undefined,
): ThrottleRecord | null {
  if (report === undefined) return null;
  const { rule, maxPercent, vcpuThrottledMs } = report;
  const throttledMs = vcpuThrottledMs.reduce((sum, ms) => sum + ms, 0);
  const lost = work && {
    operations: ((work.beforePerS - work.duringPerS) * work.durationMs) / MS_PER_S,
    percent: (1 - work.duringPerS / work.beforePerS) * 100,
    throttledOperations: (work.beforePerS * throttledMs) / vcpuThrottledMs.length / MS_PER_S,
  };
  return {
    rule,
    max_percent: maxPercent,
    throttled_ms: throttledMs,
    vcpu_throttled_ms: [...vcpuThrottledMs],
    throttled_operations: lost?.throttledOperations ?? null,
    lost_operations: lost?.operations ?? null,
    lost_percent: lost?.percent ?? null,
  };
}
