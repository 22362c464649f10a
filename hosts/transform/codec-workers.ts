/**
 * The codec threads of one outgoing migration: they compress batches while the mover gathers the next ones and feeds
 * the sockets. The mover that made them ends them, and does itself what they cannot: before they have started, and
 * when they have died.
 */

import { Worker } from 'node:worker_threads';
import type { CodecChoice } from './codec-chooser.ts';
import type { CodecJob, Coded, FromCodecThread } from './codec-messages.ts';

const THREAD_FILE = new URL('./codec-thread.ts', import.meta.url);

/** One that is worked on, and one that lies ready. */
const JOBS_PER_THREAD = 2;

interface Thread {
  readonly worker: Worker;
  /** What it has not answered. */
  readonly jobs: Map<number, PromiseWithResolvers<Coded>>;
  isReady: boolean;
}

export class CodecWorkers {
  readonly #threads: Thread[];
  #lastId = 0;
  #wake: () => void = () => {};

  constructor(threadCount: number) {
    this.#threads = Array.from({ length: threadCount }, () => this.#start());
  }

  /**
   * Gives a batch to the thread that has least to do.
   *
   * @param bytes in shared memory; not to be changed until it is coded
   * @returns undefined when no thread is ready; a promise that rejects when the thread dies
   */
  code(bytes: Uint8Array, choice: CodecChoice): Promise<Coded> | undefined {
    const ready = this.#threads.filter(({ isReady }) => isReady);
    const [thread] = ready.sort((a, b) => a.jobs.size - b.jobs.size);
    if (thread === undefined) return undefined;
    const id = ++this.#lastId;
    const job = Promise.withResolvers<Coded>();
    thread.jobs.set(id, job);
    thread.worker.postMessage({ id, bytes, choice } satisfies CodecJob);
    return job.promise;
  }

  /** Whether every thread has enough to do. */
  get isFull(): boolean {
    const ready = this.#threads.filter(({ isReady }) => isReady);
    return ready.length > 0 && ready.every(({ jobs }) => jobs.size >= JOBS_PER_THREAD);
  }

  /** Until that is no more so. */
  async room(): Promise<void> {
    while (this.isFull) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Ends the threads, wherever they are. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #start(): Thread {
    const worker = new Worker(THREAD_FILE, { name: 'codec' });
    const thread: Thread = { worker, jobs: new Map(), isReady: false };
    worker.on('message', (message: FromCodecThread) => {
      if (message.type === 'ready') {
        thread.isReady = true;
        return;
      }
      thread.jobs.get(message.id)?.resolve(message);
      thread.jobs.delete(message.id);
      this.#wake();
    });
    worker.once('error', () => {});
    worker.once('exit', () => {
      thread.isReady = false;
      for (const { reject } of thread.jobs.values()) reject(new Error('the codec thread has ended'));
      thread.jobs.clear();
      this.#wake();
    });
    return thread;
  }
}
