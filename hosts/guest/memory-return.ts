/**
 * Gives a destroyed guest's memory back to the system. A SharedArrayBuffer has no destructor: its memory goes
 * back when the garbage collector finds that no thread refers to it, and the collector, which counts only the
 * heap's own bytes, may leave gigabytes lying for minutes. So it is asked to look once the guest is gone.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Long enough for a mover's thread to end after the guest, and to gather guests that end together. */
const DELAY_MS = 100;

let timer: NodeJS.Timeout | undefined;
let collect: (() => void) | undefined;

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

/** V8's full collection, which a flag makes visible to contexts made afterwards. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
