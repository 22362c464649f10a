/**
 * QEMU's dirty-bitmap (migration/dirtyrate.c): the dirty marks of all pages are taken off, and counted at the end. It
 * counts each page once, so it differs from the truth by what was written while it began and ended.
 */

import type { Findings, ProbeSettings } from './findings.ts';
import type { ProbedGuest } from './probed-guest.ts';
import type { Watch } from './watch.ts';

export function dirtyBitmap(guest: ProbedGuest, watch: Watch, { calcTimeMs }: ProbeSettings): Findings {
  // Counted once before it matters: what is slow the first time blurs the edge.
  let dirtyPages = guest.dirtyPages();
  watch.begin(() => guest.clearDirty());
  const trueDirtyPages = watch.until(calcTimeMs, 0, () => {
    dirtyPages = guest.dirtyPages();
    // So that the truth knows of every page that was just found marked.
    guest.control.passEpoch();
  });
  return { dirtyPages, trueDirtyPages };
}
