/** The rate at which a guest really writes pages, from its series. */
import type { OperationSeries } from '../proto/generated/godwit/v1/guest.ts';

/**
 * Page writes per second between the first sample that saw one and the last; null when there are too few
 * samples.
 */
export function achievedPagesPerS({ atMs, pageWrites }: OperationSeries): number | null {
  // Before its first write the guest was being started, which is no work at a lower rate.
  const first = Math.max(
    pageWrites.findIndex((writes) => writes > 0),
    0,
  );
  const last = atMs.length - 1;
  if (last <= first) return null;
  return ((pageWrites[last]! - pageWrites[first]!) * 1000) / (atMs[last]! - atMs[first]!);
}
