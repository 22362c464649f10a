/**
 * A mover's worker thread as its owner on the main thread holds it: what it says, that it ended and why, and
 * its end.
 */

import type { Worker } from 'node:worker_threads';
import { errorText } from '../../proto/errors.ts';
import type { MoverWork } from './messages.ts';

export interface MoverThreadHooks<From> {
  message(message: From): void;
  /** The thread is no more, by `end()` or not. Called once, after every message. */
  exited(error: Error): void;
}

export class MoverThread<To, From> {
  readonly #worker: Worker;

  /**
   * @param worker from ReadyThreads: it waits for its work
   */
  constructor(worker: Worker, work: MoverWork, hooks: MoverThreadHooks<From>) {
    this.#worker = worker;
    const name = `${work.side} mover`;
    let cause: unknown;
    this.#worker.on('message', (message: From) => hooks.message(message));
    this.#worker.once('error', (error) => {
      cause = error;
    });
    this.#worker.once('exit', (code) => {
      const why = cause === undefined ? `code ${code}` : errorText(cause);
      hooks.exited(new Error(`${name} has ended: ${why}`, { cause }));
    });
    this.#worker.postMessage(work);
  }

  /** Tells the thread something; without effect when it has ended. */
  post(message: To): void {
    this.#worker.postMessage(message);
  }

  /** Ends the thread wherever it is, with its sockets. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
