/** From what hosts found when they probed a guest and a link to what a prediction is made from, and to its basis. */

import type { DirtyRateReport } from '../proto/generated/godwit/v1/dirty_rate.ts';
import type { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import type { ProbeResult } from '../proto/generated/godwit/v1/network.ts';
import type { PredictionBasis } from '../proto/generated/godwit/v1/prediction.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { type DirtyCurve, dirtyCurve } from './dirty-curve.ts';
import type { Probed } from './predictor.ts';

export interface GuestAndLink {
  readonly spec: GuestSpec;
  readonly dirtyRate: DirtyRateReport;
  readonly link: LinkFound;
  readonly probeMs: number;
}

export interface LinkFound {
  readonly bytesPerS: number;
  /** How far off that may be, as a share. */
  readonly errorShare: number;
  readonly roundTripMs: number;
}

/** A link is never known better than this. */
const BANDWIDTH_ERROR_MIN = 0.02;

/**
 * What several short probes of a link say together: the median rate, since a thread that had to wait makes one of them
 * small and the next one large; and the shortest round trip, which waited least.
 *
 * @throws Error when they carried nothing
 */
export function linkFrom(roundTrips: ProbeResult, rates: readonly ProbeResult[]): LinkFound {
  const sorted = rates.map(({ rateBytesPerS }) => rateBytesPerS).toSorted((a, b) => a - b);
  const bytesPerS = sorted[sorted.length >> 1] ?? 0;
  if (!(bytesPerS > 0)) throw new Error('the probe of the link carried nothing');
  const spread = (sorted.at(-1)! - sorted[0]!) / 2 / bytesPerS;
  const errorShare = Math.min(1 / 2, BANDWIDTH_ERROR_MIN + spread / 2);
  return { bytesPerS, errorShare, roundTripMs: roundTrips.roundTripMinMs };
}

/** A write costs a paced guest about so much of its time. */
const WRITE_S = 4e-6;

/** What a hypervisor knows as its guest's load: here its pace tells it. */
function busyShare({ workload, vcpuCount }: GuestSpec): number {
  const rate = workload?.rate ?? 0;
  return rate === 0 ? 1 : Math.min(1, (rate * WRITE_S) / vcpuCount);
}

/** @throws Error when the probes found nothing: what is not known is not zero */
export function probedFrom(found: GuestAndLink): {
  readonly probed: Probed;
  readonly basis: PredictionBasis;
} {
  const { spec, dirtyRate, link, probeMs } = found;
  const { workingSet } = dirtyRate;
  if (workingSet === undefined || workingSet.windows.length === 0) {
    throw new Error(`the probe of guest "${spec.name}" says nothing of its working set`);
  }
  const pageCount = Number(spec.memoryBytes) / PAGE_BYTES;
  const { pages = 0, zeroPages = 0, compressedShare = 1 } = workingSet.content ?? {};
  const written: DirtyCurve = dirtyCurve(workingSet.windows, pageCount);
  const writtenPages = workingSet.windows.at(-1)?.dirtyPages ?? 0;
  const accessedPages = Number(workingSet.accessedPages);
  const zeroShare = pages === 0 ? 0 : zeroPages / pages;
  const probed: Probed = {
    pageCount,
    zeroShare,
    compressedShare,
    busyShare: busyShare(spec),
    deviceStateBytes: Number(spec.deviceStateBytes),
    written,
    accessedPerWritten: writtenPages === 0 ? 1 : Math.max(1, accessedPages / writtenPages),
    bytesPerS: link.bytesPerS,
    roundTripMs: link.roundTripMs,
    bandwidthError: link.errorShare,
  };
  const basis: PredictionBasis = {
    pageCount: BigInt(pageCount),
    zeroShare,
    written: workingSet.windows.map(({ ms, dirtyPages }) => ({ ms, pages: dirtyPages })),
    accessedPages: workingSet.accessedPages,
    dirtyRatePagesPerS: written.ratePagesPerS,
    workingSetPages: written.workingSetPages,
    bandwidthBytesPerS: link.bytesPerS,
    roundTripMs: link.roundTripMs,
    probeMs,
  };
  return { probed, basis };
}
