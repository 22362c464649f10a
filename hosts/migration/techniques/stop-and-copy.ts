/**
 * Stop-and-copy, the oldest technique (Sapuntzakis et al., OSDI 2002): pause, send everything, resume there.
 * Its downtime is its total time, and it sends each page once.
 */

import type { SourceSide } from '../source-side.ts';

export async function stopAndCopy(source: SourceSide): Promise<void> {
  await source.switchover(() => source.sendAll());
}
