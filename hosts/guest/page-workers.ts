/**
 * Work over a guest's memory that would hold up the main thread: a worker thread that does one thing and
 * ends. Large memory is split over two.
 */

import { Worker } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import type { PageRange } from './worker-messages.ts';

/** Up to this size a second thread costs more than it saves. */
const SPLIT_BYTES = 64 * 1024 * 1024;

/**
 * Runs a worker file to its one message, and answers that.
 *
 * @param what for the error: what is being done
 * @param cancelled ends the thread; its reason is an Error that says why
 * @param withinMs how long the work may take
 * @throws what the worker threw, or when it ended or took too long without an answer, or was cancelled
 */
export async function runWorker<Answer>(
  file: URL,
  workerData: unknown,
  what: string,
  cancelled: AbortSignal,
  withinMs: number = DEADLINES_MS.guestWork,
): Promise<Answer> {
  cancelled.throwIfAborted();
  const worker = new Worker(file, { workerData, name: what });
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  try {
    return await new Promise<Answer>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', (cause) => reject(new Error(`${what}: ${String(cause)}`, { cause })));
      worker.once('exit', (code) => reject(new Error(`${what}: its thread ended early, with code ${code}`)));
      const late = new Error(
        `${what}: not done within ${withinMs} ms; on a slow machine raise GODWIT_PATIENCE`,
      );
      timer = setTimeout(() => reject(late), withinMs);
      onAbort = () => reject(new Error(`${what}: ended, since ${errorText(cancelled.reason)}`));
      cancelled.addEventListener('abort', onAbort);
    });
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) cancelled.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}

/** All pages of a guest, in one part or, when they are many, in two. */
export function pageRanges(pageCount: number): PageRange[] {
  if (pageCount * PAGE_BYTES <= SPLIT_BYTES) return [{ fromPage: 0, toPage: pageCount }];
  const middle = Math.ceil(pageCount / 2);
  return [
    { fromPage: 0, toPage: middle },
    { fromPage: middle, toPage: pageCount },
  ];
}
