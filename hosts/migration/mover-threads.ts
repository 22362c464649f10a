/**
 * The threads of a host's movers. A thread takes longer to start than a small guest to move, so the host keeps
 * one ready. A thread moves one guest and ends; the next one to keep is started when no guest has moved for a
 * while, so that its start takes no processor from a migration or from a guest that has just arrived.
 */

import { Worker } from 'node:worker_threads';
import type { MoverThreadData } from './messages.ts';

/** After the last migration's end. */
const NEXT_AFTER_MS = 1000;
const MOVER_FILE = new URL('./mover.ts', import.meta.url);

export class MoverThreads {
  readonly #nextAfterMs: number;
  #keepsReady: boolean;
  #ready: Worker | undefined;
  #busyCount = 0;

  /**
   * @param keepsReady whether one is kept ready, until `close()`
   * @param nextAfterMs how long after a migration's end the next one is started
   */
  constructor(keepsReady: boolean, nextAfterMs = NEXT_AFTER_MS) {
    this.#keepsReady = keepsReady;
    this.#nextAfterMs = nextAfterMs;
    this.#prepare();
  }

  /** A thread that waits for its MoverWork. Its end is the caller's. */
  take(): Worker {
    const workerData: MoverThreadData = { isReadied: false };
    const worker = this.#ready ?? new Worker(MOVER_FILE, { name: 'mover', workerData });
    this.#ready = undefined;
    this.#busyCount++;
    worker.once('exit', () => {
      this.#busyCount--;
      setTimeout(() => this.#prepare(), this.#nextAfterMs).unref();
    });
    return worker;
  }

  /** Ends the one that is kept ready; those that move a guest have an owner. */
  async close(): Promise<void> {
    this.#keepsReady = false;
    await this.#ready?.terminate();
  }

  #prepare(): void {
    if (!this.#keepsReady || this.#busyCount > 0 || this.#ready !== undefined) return;
    const workerData: MoverThreadData = { isReadied: true };
    const worker = new Worker(MOVER_FILE, { name: 'mover', workerData });
    this.#ready = worker;
    const gone = (): void => {
      if (this.#ready === worker) this.#ready = undefined;
    };
    // One that cannot be had in advance is no harm: the migration that needs one starts it, and tells why not.
    worker.once('error', gone).once('exit', gone);
  }
}
