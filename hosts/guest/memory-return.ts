/**
 * Gives memory back to the system, foremost a destroyed guest's. A SharedArrayBuffer has no destructor: its memory goes
 * back when the garbage collector finds that no thread refers to it, and the collector, which counts only the
 * heap's own bytes, may leave gigabytes lying for minutes. So it is asked to look once the guest is gone.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Long enough for a mover's thread to end after the guest, and to gather guests that end together. */
const DELAY_MS = 100;

let timer: NodeJS.Timeout | undefined;
let collect: Collector | undefined;

/** V8's own, of which Node's types know nothing. */
type Collector = (options?: { type: 'major'; execution: 'sync'; flavor: 'regular' | 'last-resort' }) => void;

/**
 * Has the garbage collected soon, once, however often it is called meanwhile. A few milliseconds on the main
 * thread.
 */
export function returnMemorySoon(): void {
  timer ??= setTimeout(() => {
    timer = undefined;
    collect ??= garbageCollector();
    collect();
  }, DELAY_MS);
  timer.unref();
}

/**
 * Gives back what loading this thread's program, or rehearsing, has left behind: some 7 MiB of a host's main thread.
 * Some tens of milliseconds, for when nobody waits for the thread yet.
 */
export function returnStartMemory(): void {
  collect ??= garbageCollector();
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** V8's full collection, which a flag makes visible to contexts made afterwards. */
function garbageCollector(): Collector {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collector;
}
