/** The main thread's hold on one vCPU's worker thread: gives it its work, notices when it dies, and ends it. */

import { inspect } from 'node:util';
import type { Worker } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { SharedGuest } from './shared-guest.ts';
import type { VcpuWork } from './worker-messages.ts';

export class VcpuThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  /**
   * @param worker a guest's thread, which waits for its work
   * @param ended is called once when the thread has ended, by command or not, with what it threw or its exit
   *   code
   */
  constructor(worker: Worker, shared: SharedGuest, vcpu: number, ended: (error: Error) => void) {
    const name = `vCPU ${vcpu} of guest ${shared.spec.name}`;
    const work: VcpuWork = { role: 'vcpu', shared, vcpu };
    this.#worker = worker;
    worker.postMessage(work);
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
