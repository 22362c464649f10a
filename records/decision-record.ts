/** What a trial's record says about the rules that steered it: each step that one took. */

import { z } from 'zod';
import type { SourceReport } from '../proto/generated/godwit/v1/migration.ts';

export const decision = z.strictObject({
  at_ms: z.number().describe("Since the migration's acceptance."),
  rule: z.string().describe('By its name in a spec; on-timeout: the limits.'),
  what: z.string().describe('What it did, in words.'),
  value: z
    .number()
    .describe('What it set, or decided by, in the unit of that; 0 when there is no such figure.'),
});

export type DecisionRecord = z.infer<typeof decision>;

/** In the order in which they were taken; null when the source did not live to tell. */
export function decisionRecords(source: SourceReport | undefined): DecisionRecord[] | null {
  if (source === undefined) return null;
  return source.decisions.map(({ atMs, rule, what, value }) => {
    return { at_ms: atMs - source.acceptedAtMs, rule, what, value };
  });
}
