/** What it takes to find the dirty pages of a guest: the scan of the page table alone, nothing is sent. */

import { nowMs } from '../hosts/clock.ts';
import { PAGE_DIRTY, PageTable } from '../hosts/guest/page-table.ts';
import { allocateGuest, pageCountOf } from '../hosts/guest/shared-guest.ts';
import { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import { Random } from '../workloads/random.ts';
import { type Row, rowAtMost } from './row.ts';

const MEMORY_BYTES = 1024n ** 3n;
const DIRTY_SHARE = 0.01;
/** Fewer than a migration has before its last rounds, so that its code is as warm as there. */
const WARM_UP_SCANS = 20;
const SCANS = 200;
const TARGET_MS = 1;

export function harvest(): Promise<Row[]> {
  const spec = GuestSpec.fromPartial({ name: 'harvest', memoryBytes: MEMORY_BYTES, vcpuCount: 1 });
  const pageCount = pageCountOf(spec);
  const pageTable = new PageTable(allocateGuest(spec).pageTable, pageCount);
  const pages = new Uint32Array(pageCount);
  const random = new Random(1n, 0);
  const values: number[] = [];
  for (let scan = 0; scan < WARM_UP_SCANS + SCANS; scan++) {
    // Anywhere: the dearest pattern there is for a scan.
    let dirtyCount = 0;
    while (dirtyCount < pageCount * DIRTY_SHARE) {
      const page = random.below(pageCount);
      if (((pageTable.entries[page] as number) & PAGE_DIRTY) === 0) dirtyCount++;
      pageTable.markDirty(page);
    }
    const beginMs = nowMs();
    const collected = pageTable.collectDirty(pages);
    const elapsedMs = nowMs() - beginMs;
    if (collected !== dirtyCount) throw new Error(`collected ${collected} of ${dirtyCount} dirty pages`);
    if (scan >= WARM_UP_SCANS) values.push(elapsedMs);
  }
  const about = { work: '1 GiB with 1 % dirty anywhere', measure: 'collecting the dirty pages', unit: 'ms' };
  return Promise.resolve([rowAtMost(about, values, TARGET_MS)]);
}
