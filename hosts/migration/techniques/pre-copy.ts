/**
 * Pre-copy (Clark et al., NSDI 2005; Nelson et al., USENIX ATC 2005): send all memory while the guest runs,
 * then again and again what it has written meanwhile, until so little remains that it can be sent in a short
 * pause. Somebody may end the rounds by hand, or `on-timeout` may: then the rest follows as post-copy (QEMU's
 * migrate-start-postcopy).
 */

import type { SourceSide } from '../source-side.ts';
import { goOnAsPostCopy } from './hybrid.ts';

export async function preCopy(source: SourceSide): Promise<void> {
  await source.sendAll();
  while (!source.roundsAreOver()) await source.sendDirty();
  if (source.goesOnAsPostCopy) await goOnAsPostCopy(source);
  else await source.switchover(() => source.sendDirty());
}
