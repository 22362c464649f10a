/**
 * A worker thread that holds each page of a part of memory against the ledger: every lane must have the
 * version that the ledger says, and every slot the stamp of the right version or, where nothing was written,
 * the boot content. A page of the kernel must hold what its allocation has left there, and may hold anything while it
 * is free. No vCPU executes meanwhile. The range leaves out the pages of the guest's NIC.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { workloadPageCount } from '../../proto/guest-network.ts';
import { allocationSeedWord, checkAllocation } from '../../workloads/allocation.ts';
import {
  checkLane,
  foreignPage,
  LANE_COUNT,
  LANE_WORDS,
  type LaneFault,
  laneOffsetWords,
  stampSeedWord,
} from '../../workloads/stamp.ts';
import { bootContent } from './boot-content.ts';
import { FreeList } from './free-list.ts';
import { currentLedger } from './ledger.ts';
import { AUDIT_FAULTS_MAX } from './limits.ts';
import { pageCountOf } from './shared-guest.ts';
import type { AuditFindings, AuditWorkerData, FoundFault } from './worker-messages.ts';

/**
 * How many pages may be tried in all to tell whose content faulty pages hold. Some seconds of work; in a
 * guest that is damaged all over, the later faults keep the name that needs no search.
 */
const FOREIGN_TRIALS_MAX = 20_000_000;

const { shared, range, versions } = workerData as AuditWorkerData;
const { spec } = shared;
const pageCount = pageCountOf(spec);
const workloadPages = workloadPageCount(spec);
const content = bootContent(spec);
const stampSeed = stampSeedWord(spec.seed);
const words = new Int32Array(shared.memory);
const ledger = currentLedger(shared);
const freeList = new FreeList(shared);
const allocationSeed = allocationSeedWord(spec.seed);
const bootLane = new Uint32Array(LANE_WORDS);
let foreignTrials = 0;

parentPort?.postMessage(audit());

function audit(): AuditFindings {
  const faults: FoundFault[] = [];
  let faultCount = 0;
  let pagesChecked = 0;
  for (let page = range.fromPage; page < range.toPage; page++) {
    const allocation = page < workloadPages ? undefined : freeList.allocationOf(page);
    if (page >= workloadPages && allocation === undefined) continue;
    pagesChecked++;
    const fault = allocation === undefined ? checkPage(page) : checkAllocated(page, allocation);
    if (fault === undefined) continue;
    faultCount++;
    if (faults.length < AUDIT_FAULTS_MAX) faults.push(nameForeign(fault));
  }
  return { pagesChecked, faults, faultCount };
}

function checkAllocated(page: number, allocation: number): FoundFault | undefined {
  const fault = checkAllocation(words, allocationSeed, page, allocation);
  return fault && { page, ...fault };
}

/** Says which fault it is: a page that is whole, but of other versions than the ledger's, has lost writes. */
function checkPage(page: number): FoundFault | undefined {
  let fault: FoundFault | undefined;
  for (let vcpu = 0; vcpu < LANE_COUNT; vcpu++) {
    const lane = checkAgainst(page, vcpu, expectedVersion(page, vcpu));
    if (lane === undefined) continue;
    const isWhole = checkAgainst(page, vcpu, foundVersion(page, vcpu)) === undefined;
    if (!isWhole) return { page, kind: 'torn', detail: lane.detail };
    fault ??= { page, kind: 'lost-write', detail: lane.detail };
  }
  return fault;
}

function checkAgainst(page: number, vcpu: number, version: number): LaneFault | undefined {
  content.bootLane(page, vcpu, bootLane);
  return checkLane(words, stampSeed, page, vcpu, version, bootLane);
}

function foundVersion(page: number, vcpu: number): number {
  return (words[laneOffsetWords(page, vcpu)] as number) >>> 0;
}

/** Lanes without a vCPU are as at boot. */
function expectedVersion(page: number, vcpu: number): number {
  if (vcpu >= spec.vcpuCount) return 0;
  if (versions === 'memory') return foundVersion(page, vcpu);
  return ledger[vcpu * pageCount + page] as number;
}

/** A page that does not hold its own content may hold another's. One that is merely behind is its own. */
function nameForeign(fault: FoundFault): FoundFault {
  if (fault.kind !== 'torn' || foreignTrials >= FOREIGN_TRIALS_MAX) return fault;
  const { page } = fault;
  const fillBootLane = content.bootLane.bind(content);
  const owner = foreignPage(words, stampSeed, page, workloadPages, fillBootLane);
  foreignTrials += owner ?? workloadPages;
  if (owner === undefined) return fault;
  return { page, kind: 'foreign', detail: `holds what belongs in page ${owner} (${fault.detail})` };
}
