/**
 * QEMU's page-sampling (migration/dirtyrate.c): hashes some pages at the beginning and at the end, and takes the share
 * that has changed for that of all pages. It needs no marks, so that a migration may run; it is as exact as so few
 * pages can be. As in QEMU the pages are drawn with replacement.
 */

import { randomInt } from 'node:crypto';
import { xxh64 } from '@node-rs/xxhash';
import { PAGE_BYTES } from '../../../proto/page.ts';
import type { Findings, ProbeSettings } from './findings.ts';
import type { ProbedGuest } from './probed-guest.ts';
import type { Watch } from './watch.ts';

const BYTES_PER_GIB = 1024 ** 3;
/** Of the normal distribution: 95 % lie within so many standard deviations. */
const Z_95 = 1.96;

export function pageSampling(guest: ProbedGuest, watch: Watch, settings: ProbeSettings): Findings {
  const { memoryBytes } = guest.shared.spec;
  const sampledPages = Math.max(1, Math.floor((Number(memoryBytes) * settings.samplePages) / BYTES_PER_GIB));
  const pages = Uint32Array.from({ length: sampledPages }, () => randomInt(guest.pageCount));
  const hashes = new BigUint64Array(sampledPages);
  const page = Buffer.alloc(PAGE_BYTES);
  const memory = Buffer.from(guest.shared.memory);
  const hashOf = (number: number): bigint => {
    memory.copy(page, 0, number * PAGE_BYTES, (number + 1) * PAGE_BYTES);
    return xxh64(page);
  };
  watch.begin(() => {
    for (const [index, number] of pages.entries()) hashes[index] = hashOf(number);
  });
  let changedPages = 0;
  const trueDirtyPages = watch.until(settings.calcTimeMs, 0, () => {
    for (const [index, number] of pages.entries()) if (hashOf(number) !== hashes[index]) changedPages++;
  });
  const { low, high } = wilson(changedPages, sampledPages);
  return {
    dirtyPages: (changedPages / sampledPages) * guest.pageCount,
    trueDirtyPages,
    pageSample: {
      sampledPages,
      changedPages,
      dirtyPagesLow: low * guest.pageCount,
      dirtyPagesHigh: high * guest.pageCount,
    },
  };
}

/**
 * Between which shares of the whole a share of a sample lies with 95 % (Wilson 1927). Unlike p +- 2 sigma it does not
 * take a sample without any for the proof that there are none.
 */
export function wilson(found: number, sampled: number): { readonly low: number; readonly high: number } {
  const share = found / sampled;
  const z2 = Z_95 ** 2 / sampled;
  const middle = (share + z2 / 2) / (1 + z2);
  const half = (Z_95 / (1 + z2)) * Math.sqrt((share * (1 - share)) / sampled + z2 / (4 * sampled));
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}
