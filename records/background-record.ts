/** What became of traffic that was on the link besides a migration; definitions in docs/metrics.md. Pure. */

import { z } from 'zod';
import type { MigrationWindow } from '../proto/client-load.ts';
import type { TrafficSample } from '../proto/generated/godwit/v1/network.ts';

const rate = () => z.number().nonnegative().nullable();

export const backgroundSchema = z.strictObject({
  from: z.string(),
  to: z.string(),
  offered_bytes_per_s: z.number().positive().describe('What it was to be.'),
  before_bytes_per_s: rate().describe('What of it arrived before the migration.'),
  during_bytes_per_s: rate(),
  after_bytes_per_s: rate(),
  kept_percent: z.number().nullable().describe('What arrived during the migration, of what did before.'),
  migration_bytes_per_s: rate().describe(
    'What the migration sent, from the end of its setup to the pause request.',
  ),
  migration_share_percent: z
    .number()
    .nullable()
    .describe('Of what the link carries besides the traffic; null where the link has no rate.'),
});
export type BackgroundRecord = z.infer<typeof backgroundSchema>;

/** A sample, and when it was heard by the clock of this machine. */
export type HeardSample = TrafficSample & { readonly heardAtMs: number };

/** What arrived per second. */
interface Arrived {
  readonly beforeBytesPerS: number | null;
  readonly duringBytesPerS: number | null;
  readonly afterBytesPerS: number | null;
}

export interface BackgroundFacts extends Arrived {
  readonly from: string;
  readonly to: string;
  readonly rateBytesPerS: number;
}

const MS_PER_S = 1000;

/** What arrived before, in and after a time; null where there are not two samples. */
export function inTime(samples: readonly HeardSample[], { fromMs, toMs }: MigrationWindow): Arrived {
  const within = (from: number, to: number): number | null => {
    const heard = samples.filter(({ heardAtMs }) => heardAtMs >= from && heardAtMs <= to);
    const [first] = heard;
    const last = heard.at(-1);
    if (first === undefined || last === undefined || last.receiverMs <= first.receiverMs) return null;
    return ((last.receivedBytes - first.receivedBytes) / (last.receiverMs - first.receiverMs)) * MS_PER_S;
  };
  return {
    beforeBytesPerS: within(Number.NEGATIVE_INFINITY, fromMs),
    duringBytesPerS: within(fromMs, toMs),
    afterBytesPerS: within(toMs, Number.POSITIVE_INFINITY),
  };
}

/**
 * @param sentBytes what the migration sent from the end of its setup to the pause request
 * @param restBytes what the link carries in that time besides the traffic; undefined where it has no rate
 */
export function backgroundRecord(
  facts: BackgroundFacts,
  { sentBytes, durationMs }: { readonly sentBytes: number; readonly durationMs: number },
  restBytes: number | undefined,
): BackgroundRecord {
  const { beforeBytesPerS: before, duringBytesPerS: during } = facts;
  return {
    from: facts.from,
    to: facts.to,
    offered_bytes_per_s: facts.rateBytesPerS,
    before_bytes_per_s: before,
    during_bytes_per_s: during,
    after_bytes_per_s: facts.afterBytesPerS,
    kept_percent: before === null || before === 0 || during === null ? null : (during / before) * 100,
    migration_bytes_per_s: durationMs > 0 ? (sentBytes / durationMs) * MS_PER_S : null,
    migration_share_percent: restBytes === undefined || restBytes <= 0 ? null : (sentBytes / restBytes) * 100,
  };
}
