/**
 * Hybrid: some rounds of pre-copy, often a single one, then post-copy for what was written meanwhile. The
 * destination drops what is stale by the dirty bitmap, and never fetches what it validly has (QEMU's
 * postcopy-ram, which begins as pre-copy; Sahni and Varma, CCEM 2012, add the hot set to the pause).
 */

import type { SourceSide } from '../source-side.ts';

export async function hybrid(source: SourceSide): Promise<void> {
  await source.sendAll();
  while (!source.roundsAreOver()) await source.sendDirty();
  await goOnAsPostCopy(source);
}

/** What was written since it was last sent follows when the guest runs at the destination. */
export async function goOnAsPostCopy(source: SourceSide): Promise<void> {
  await source.switchover(() => source.sendDirtyBitmap());
  await source.serveAndPush();
}
