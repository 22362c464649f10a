/** What a trial's record says about pages that were left out since they are free in the guest. docs/metrics.md. */

import { z } from 'zod';
import { FREE_PAGES } from '../proto/convergence.ts';
import type { SourceReport } from '../proto/generated/godwit/v1/migration.ts';

export const freePagesSchema = z.strictObject({
  kind: z.string().describe('hints or balloon.'),
  free_pages: z.number().describe("Pages on the guest's free list when the migration began."),
  reported_pages: z
    .number()
    .describe('Pages of which the guest said that they are free, or that it gave back, each as often.'),
  left_out_pages: z.number().describe('Pages that the destination did not get, since they are free.'),
  reused_pages: z
    .number()
    .describe('Pages that were left out, then taken into use by the guest, and sent after all.'),
});

type FreePagesRecord = z.infer<typeof freePagesSchema>;

/** null when free pages went as any others. */
export function freePagesRecord(source: SourceReport | undefined): FreePagesRecord | null {
  const report = source?.freePages;
  if (report === undefined) return null;
  return {
    kind: FREE_PAGES.nameOf(report.kind) ?? String(report.kind),
    free_pages: Number(report.freePages),
    reported_pages: Number(report.reportedPages),
    left_out_pages: Number(report.leftOutPages),
    reused_pages: Number(report.reusedPages),
  };
}
