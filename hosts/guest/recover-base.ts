/**
 * A worker thread for a guest whose source died before it sent the ledger: computes the base from memory and,
 * if it has the digest that came in the pause, puts it in place.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { digestOf, recoverBase } from './ledger.ts';
import type { RecoverWorkerData } from './worker-messages.ts';

const { shared, digest } = workerData as RecoverWorkerData;
const base = recoverBase(shared);
const agrees = digestOf(base) === digest;
if (agrees) new Uint32Array(shared.base).set(base);
parentPort?.postMessage(agrees);
