/**
 * The ledger: how many writes each vCPU has made to each page since boot. It is kept outside guest memory, so
 * that it can say what memory must hold. One uint32 per vCPU and page, vCPU-major: vcpu * pageCount + page. Zero
 * for the pages of the kernel, whose free list says what they must hold (free-list.ts), and for those of the NIC.
 */

import { xxh64 } from '@node-rs/xxhash';
import { workloadPageCount } from '../../proto/guest-network.ts';
import { laneOffsetWords } from '../../workloads/stamp.ts';
import { pageCountOf, type SharedGuest } from './shared-guest.ts';

/** A ledger's room, zeroed. */
export function emptyLedger({ spec }: SharedGuest): Uint32Array<ArrayBuffer> {
  return new Uint32Array(spec.vcpuCount * pageCountOf(spec));
}

/**
 * The ledger as it is now: the base that the guest came with, and the writes made since. No vCPU executes.
 *
 * @param ledger where to put it
 */
export function currentLedger(
  shared: SharedGuest,
  ledger: Uint32Array<ArrayBuffer> = emptyLedger(shared),
): Uint32Array<ArrayBuffer> {
  const base = new Uint32Array(shared.base);
  const writes = new Uint32Array(shared.writes);
  const pageCount = pageCountOf(shared.spec);
  const workloadPages = workloadPageCount(shared.spec);
  for (let start = 0; start < ledger.length; start += pageCount) {
    for (let index = start; index < start + workloadPages; index++) {
      ledger[index] = (base[index] as number) + (writes[index] as number);
    }
  }
  return ledger;
}

/** A ledger's digest: XXH64 of its little-endian bytes, as 16 hexadecimal digits. */
export function digestOf(ledger: Uint32Array): string {
  const bytes = new Uint8Array(ledger.buffer, ledger.byteOffset, ledger.byteLength);
  return xxh64(bytes).toString(16).padStart(16, '0');
}

/**
 * The base that memory implies: the versions found in it, less the writes made since the guest came. True if,
 * and only if, every page was whole and up to date on arrival, which its digest must show. No vCPU executes.
 */
export function recoverBase(shared: SharedGuest): Uint32Array<ArrayBuffer> {
  const pageCount = pageCountOf(shared.spec);
  const workloadPages = workloadPageCount(shared.spec);
  const words = new Uint32Array(shared.memory);
  const writes = new Uint32Array(shared.writes);
  const base = new Uint32Array(writes.length);
  for (let vcpu = 0; vcpu < shared.spec.vcpuCount; vcpu++) {
    // The others have no lanes: their versions are 0.
    for (let page = 0; page < workloadPages; page++) {
      const index = vcpu * pageCount + page;
      base[index] = (words[laneOffsetWords(page, vcpu)] as number) - (writes[index] as number);
    }
  }
  return base;
}
