/**
 * Pre-copy (Clark et al., NSDI 2005; Nelson et al., USENIX ATC 2005): send all memory while the guest runs,
 * then again and again what it has written meanwhile, until so little remains that it can be sent in a short
 * pause.
 */

import type { SourceSide } from '../source-side.ts';

export async function preCopy(source: SourceSide): Promise<void> {
  await source.sendAll();
  while (!source.converged()) await source.sendDirty();
  await source.switchover(() => source.sendDirty());
}
