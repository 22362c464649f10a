/**
 * Threads that stand for something outside of the machine's processor, such as a link or a NIC, or that
 * measure: they should not wait for it. And threads that have done what mattered.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';

/** The nice value of such a thread. */
const NICE = -15;
/** Of one whose work nobody waits for. */
const NICE_LAST = 15;
/** Where Linux lists the threads of a process, each with its name. */
const THREADS = '/proc/self/task';

/**
 * Lets this thread go before others, where the system allows it (root, or CAP_SYS_NICE). On Linux a priority
 * belongs to the thread that sets it; elsewhere to the process. V8's helpers get it too: a thread that collects
 * garbage, which a relay does some times per second, waits for them.
 */
export function goFirst(): void {
  try {
    setPriority(0, NICE);
    for (const thread of collectorThreads()) setPriority(thread, NICE);
  } catch {
    // An ordinary user has ordinary threads: on a busy machine times are then less even.
  }
}

/** Lets this thread go after others, for good: an ordinary user cannot take that back. Linux only; see goFirst. */
export function goLast(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(0, NICE_LAST);
  } catch {
    // It goes after others already: an ordinary user's process that was started with a higher nice value.
  }
}

function collectorThreads(): number[] {
  const threads = existsSync(THREADS) ? readdirSync(THREADS) : [];
  return threads.filter((thread) => threadName(thread) === 'V8Worker').map(Number);
}

function threadName(thread: string): string {
  try {
    return readFileSync(join(THREADS, thread, 'comm'), 'utf8').trim();
  } catch {
    // It has ended.
    return '';
  }
}
