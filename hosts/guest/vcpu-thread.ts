/** The main thread's hold on one vCPU's worker thread: it starts it, notices when it dies, and ends it. */

import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { SharedGuest } from './shared-guest.ts';
import type { VcpuWorkerData } from './worker-messages.ts';

const VCPU_FILE = new URL('./vcpu.ts', import.meta.url);

export class VcpuThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  /**
   * @param ended is called once when the thread has ended, by command or not, with what it threw or its exit
   *   code
   */
  constructor(shared: SharedGuest, vcpu: number, ended: (error: Error) => void) {
    const name = `vCPU ${vcpu} of guest ${shared.spec.name}`;
    const workerData: VcpuWorkerData = { shared, vcpu };
    const worker = new Worker(VCPU_FILE, { workerData, name });
    this.#worker = worker;
    let cause: Error | undefined;
    worker.once('error', (error) => {
      cause = error instanceof Error ? error : new Error(inspect(error));
    });
    this.#exited = new Promise((resolve) => {
      worker.once('exit', (code) => {
        resolve();
        const why = cause === undefined ? `its thread ended with code ${code}` : cause.message;
        ended(new Error(`${name} has ended: ${why}`, { cause }));
      });
    });
  }

  /** Waits until the thread, which was told to stop, has ended; after a deadline ends it by force. */
  async end(): Promise<void> {
    const timer = setTimeout(() => {
      // Resolves with `exit`, which is waited for.
      void this.#worker.terminate();
    }, DEADLINES_MS.processStop);
    await this.#exited;
    clearTimeout(timer);
  }
}
