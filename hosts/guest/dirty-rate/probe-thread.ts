/** The thread of a probe: watches a guest, answers what it found, and ends. Its owner is measure.ts. */

import { parentPort, workerData } from 'node:worker_threads';
import type { SharedGuest } from '../shared-guest.ts';
import type { ProbeSettings } from './findings.ts';
import { runProbe } from './probe.ts';

export interface ProbeWork {
  readonly shared: SharedGuest;
  readonly settings: ProbeSettings;
}

/** Nobody rings it: a sleep ends by itself, or with the thread. */
const bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

const { shared, settings } = workerData as ProbeWork;
parentPort?.postMessage(runProbe(shared, settings, (durationMs) => Atomics.wait(bell, 0, 0, durationMs)));
