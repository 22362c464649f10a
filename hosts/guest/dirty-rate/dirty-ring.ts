/**
 * QEMU's dirty-ring (migration/dirtyrate.c, accel/kvm): each vCPU counts the pages that it was the first to write since
 * their marks were taken off. KVM's vCPUs put them into rings of their own, which QEMU's reaper empties once a second
 * and so has the pages protected anew; here the marks are taken off as often. So a page counts once a second, and the
 * rate of a long watch is that of a second, while dirty-bitmap's is less.
 */

import type { Findings, ProbeSettings } from './findings.ts';
import type { ProbedGuest } from './probed-guest.ts';
import type { Watch } from './watch.ts';

/** How often QEMU's reaper looks (accel/kvm/kvm-all.c). */
const REAP_MS = 1000;

export function dirtyRing(guest: ProbedGuest, watch: Watch, { calcTimeMs }: ProbeSettings): Findings {
  let before: readonly number[] = [];
  watch.begin(() => {
    // In this order: a fault that is in neither is a write at the edge.
    before = guest.writeFaults();
    guest.clearDirty();
  });
  let after = before;
  let trueDirtyPages = 0;
  for (let endMs = Math.min(REAP_MS, calcTimeMs); ; endMs = Math.min(endMs + REAP_MS, calcTimeMs)) {
    trueDirtyPages += watch.until(endMs, 0, () => {
      after = guest.writeFaults();
      if (endMs < calcTimeMs) guest.clearDirty();
      else guest.control.passEpoch();
    });
    if (endMs === calcTimeMs) break;
    watch.truth.forget();
  }
  const faults = after.map((count, vcpu) => count - (before[vcpu] as number));
  return {
    dirtyPages: faults.reduce((sum, count) => sum + count, 0),
    trueDirtyPages,
    vcpus: faults.map((count, vcpu) => ({
      vcpu,
      dirtyPages: BigInt(count),
      trueDirtyPages: BigInt(watch.truth.vcpuPages[vcpu] as number),
    })),
  };
}
