/**
 * The working set: how the number of different pages that are written grows with time (the unique-page curve U(t) that
 * decides whether a pre-copy converges), which pages are used at all, and what stands in memory.
 *
 * The time is cut into 16 windows, at whose ends the dirty marks are collected as a migration's rounds do it. What
 * longer windows would have found is the union of short ones: so there are 16 samples of the shortest length, 8 of the
 * next, and one of the whole. The accessed marks are taken off once, and counted at the end.
 */

import type {
  ContentSample,
  DirtyWindow,
  WorkingSet,
} from '../../../proto/generated/godwit/v1/dirty_rate.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { Random } from '../../../workloads/random.ts';
import { lazily } from '../../transform/lazy-module.ts';
import { collectDirtyPages } from '../page-table.ts';
import type { Findings, ProbeSettings } from './findings.ts';
import type { ProbedGuest } from './probed-guest.ts';
import type { Watch } from './watch.ts';
import { WINDOWS_MAX } from './write-truth.ts';

// Not by way of the codecs: the contracts that they bring would double the time in which the thread starts.
const lz4 = lazily<typeof import('lz4-napi')>('lz4-napi');

/** In windows of the shortest kind. */
const LENGTHS = [1, 2, 4, 8, 16] as const;
/** Of so many pages a share of a half is known to 2 % (standard deviation 1.1 %). */
const CONTENT_PAGES_MAX = 2048;

export function workingSet(guest: ProbedGuest, watch: Watch, { calcTimeMs }: ProbeSettings): Findings {
  watch.begin(() => {
    guest.pageTable.clearAccessed();
    guest.clearDirty();
  });
  const windows = new Uint16Array(guest.pageCount);
  const pages = new Uint32Array(guest.pageTable.pageCount);
  for (let window = 0; window < WINDOWS_MAX; window++) {
    watch.until(((window + 1) * calcTimeMs) / WINDOWS_MAX, window, () => {
      const count = collectDirtyPages(guest.pageTable, guest.control, pages);
      for (let index = 0; index < count; index++) {
        const page = pages[index] as number;
        // The NIC's come last.
        if (page >= guest.pageCount) break;
        windows[page] = (windows[page] as number) | (1 << window);
      }
    });
  }
  const found: WorkingSet = {
    windows: curve(windows, watch.truth.windows, watch.elapsedMs),
    accessedPages: BigInt(guest.accessedPages()),
    content: contentSample(guest),
  };
  const whole = found.windows.at(-1) as DirtyWindow;
  return { dirtyPages: whole.dirtyPages, trueDirtyPages: whole.trueDirtyPages, workingSet: found };
}

/**
 * @param windows for each page a bit for each window in which it was found dirty
 * @param truth the same as it really was
 * @param elapsedMs of all windows
 */
export function curve(windows: Uint16Array, truth: Uint16Array, elapsedMs: number): DirtyWindow[] {
  const found = unions(windows);
  const wanted = unions(truth);
  return LENGTHS.map((length, index) => {
    const windowCount = WINDOWS_MAX / length;
    return {
      ms: elapsedMs / windowCount,
      dirtyPages: (found[index] as number) / windowCount,
      trueDirtyPages: (wanted[index] as number) / windowCount,
      windowCount,
    };
  });
}

/** For each length, the pages of all windows of it, summed. */
function unions(windows: Uint16Array): number[] {
  const sums = LENGTHS.map(() => 0);
  for (let page = 0; page < windows.length; page++) {
    let bits = windows[page] as number;
    if (bits === 0) continue;
    for (let index = 0; index < LENGTHS.length; index++) {
      sums[index] = (sums[index] as number) + bitCount(bits);
      bits = halved(bits);
    }
  }
  return sums;
}

/** Two windows become one: bit i is set when 2i or 2i + 1 was. */
function halved(bits: number): number {
  let pairs = (bits | (bits >> 1)) & 0x5555;
  pairs = (pairs | (pairs >> 1)) & 0x3333;
  pairs = (pairs | (pairs >> 2)) & 0x0f0f;
  return (pairs | (pairs >> 4)) & 0x00ff;
}

function bitCount(bits: number): number {
  let rest = bits;
  let count = 0;
  for (; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Pages at random: which hold only zeroes, and what is left of the others when they are compressed. */
function contentSample({ shared, pageCount }: ProbedGuest): ContentSample {
  const random = new Random(shared.spec.seed, pageCount);
  const pages = Math.min(CONTENT_PAGES_MAX, pageCount);
  const page = Buffer.alloc(PAGE_BYTES);
  const zeroes = Buffer.alloc(PAGE_BYTES);
  const memory = Buffer.from(shared.memory);
  let zeroPages = 0;
  let compressedBytes = 0;
  for (let index = 0; index < pages; index++) {
    memory.copy(page, 0, (random.next() % pageCount) * PAGE_BYTES);
    if (page.equals(zeroes)) zeroPages++;
    else compressedBytes += Math.min(PAGE_BYTES, lz4().compressSync(page).byteLength);
  }
  const dataBytes = (pages - zeroPages) * PAGE_BYTES;
  return { pages, zeroPages, compressedShare: dataBytes === 0 ? undefined : compressedBytes / dataBytes };
}
