/**
 * A probe of a guest's dirty rate, on a thread that may block: watches in one of four modes, and puts beside what it
 * found what was really written, and what it cost the guest.
 */

import type { DirtyRateModeName } from '../../../proto/dirty-rate.ts';
import type { DirtyRateReport, VcpuDirtyRate } from '../../../proto/generated/godwit/v1/dirty_rate.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import type { SharedGuest } from '../shared-guest.ts';
import { dirtyBitmap } from './dirty-bitmap.ts';
import { dirtyRing } from './dirty-ring.ts';
import type { Findings, ProbeSettings } from './findings.ts';
import { pageSampling } from './page-sampling.ts';
import { ProbedGuest } from './probed-guest.ts';
import { type Sleep, Watch } from './watch.ts';
import { workingSet } from './working-set.ts';

const MS_PER_S = 1000;

/** All but what only the owner of the guest knows. */
export type ProbeResult = Omit<DirtyRateReport, 'mode'>;

const MODES: Readonly<
  Record<DirtyRateModeName, (guest: ProbedGuest, watch: Watch, settings: ProbeSettings) => Findings>
> = {
  'page-sampling': pageSampling,
  'dirty-bitmap': dirtyBitmap,
  'dirty-ring': dirtyRing,
  'working-set': workingSet,
};

/**
 * Watches a guest. Blocks; takes its marks off unless the mode is page-sampling, so nobody else may count them.
 *
 * @throws when a vCPU does not pass its safepoints
 */
export function runProbe(shared: SharedGuest, settings: ProbeSettings, sleep: Sleep): ProbeResult {
  const guest = new ProbedGuest(shared);
  const watch = new Watch(guest, sleep);
  const faults = sum(guest.writeFaults());
  const found = MODES[settings.mode](guest, watch, settings);
  const perS = (count: number): number => (count / watch.elapsedMs) * MS_PER_S;
  const { user, system } = process.threadCpuUsage();
  const { dirtyPages, trueDirtyPages, pageSample, vcpus = [], workingSet } = found;
  return {
    calcTimeMs: watch.elapsedMs,
    pageCount: BigInt(guest.pageCount),
    dirtyPages,
    pagesPerS: perS(dirtyPages),
    bytesPerS: perS(dirtyPages) * PAGE_BYTES,
    truth: {
      dirtyPages: BigInt(trueDirtyPages),
      pagesPerS: perS(trueDirtyPages),
      errorPercent: trueDirtyPages === 0 ? undefined : (dirtyPages / trueDirtyPages - 1) * 100,
      pageWrites: BigInt(watch.truth.pageWrites),
      edgeWrites: BigInt(watch.truth.edgeWrites),
    },
    cost: {
      operationsPerS: perS(watch.operations),
      operationsPerSBefore: undefined,
      lostPercent: undefined,
      writeFaults: BigInt(sum(guest.writeFaults()) - faults),
      probeCpuMs: (user + system) / 1000,
    },
    pageSample,
    vcpus: vcpus.map((vcpu): VcpuDirtyRate => {
      const pagesPerS = perS(Number(vcpu.dirtyPages));
      return { ...vcpu, pagesPerS, bytesPerS: pagesPerS * PAGE_BYTES };
    }),
    workingSet,
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((all, count) => all + count, 0);
}
