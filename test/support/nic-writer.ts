/**
 * A NIC at full speed on a thread of its own, as far as guest memory sees it: bursts of stores behind the write
 * barrier, all over the pages of its queues, for ever. The queues' indices stay as they are, so that the guest sees
 * nothing of it.
 */

import { workerData } from 'node:worker_threads';
import { NIC_BELL } from '../../hosts/guest/control-layout.ts';
import { NicControl } from '../../hosts/guest/nic-control.ts';
import { PAGE_READY, PageTable } from '../../hosts/guest/page-table.ts';
import { pageCountOf, type SharedGuest } from '../../hosts/guest/shared-guest.ts';
import { QUEUE_PAGES, workloadPageCount } from '../../proto/guest-network.ts';
import { PAGE_WORDS } from '../../proto/page.ts';

const BURST_STORES = 64;
/** Keeps a slot's length, the first word of a page and of its middle, as it is. */
const WORD = 100;

const shared = workerData as SharedGuest;
const words = new Int32Array(shared.memory);
const controlWords = new Int32Array(shared.control);
const control = new NicControl(shared.control);
const pageTable = new PageTable(shared.pageTable, pageCountOf(shared.spec));
const firstPage = workloadPageCount(shared.spec);
const pageCount = 2 * QUEUE_PAGES;
for (let store = 1; ; ) {
  const rings = control.rings();
  if (!control.enter()) {
    // A resume rings.
    Atomics.wait(controlWords, NIC_BELL, rings);
    continue;
  }
  for (let count = 0; count < BURST_STORES; count++, store++) {
    // Odd, so that all pages have their turn, and neighbours do not follow each other.
    const page = firstPage + ((store * 103) % pageCount);
    if (pageTable.entries[page] !== PAGE_READY) pageTable.markDirty(page);
    words[page * PAGE_WORDS + WORD] = store;
  }
  control.leave();
}
