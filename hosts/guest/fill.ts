/** A worker thread that puts the boot content into a part of a new guest's memory, before any vCPU runs. */

import { parentPort, workerData } from 'node:worker_threads';
import { bootContent } from './boot-content.ts';
import type { FillWorkerData } from './worker-messages.ts';

const { shared, range } = workerData as FillWorkerData;
bootContent(shared.spec).fillMemory(shared.memory, range.fromPage, range.toPage);
parentPort?.postMessage(true);
