/** Goal: a migration finds a thread that has started, and no thread starts while a guest moves. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { MoverThreads } from '../../../hosts/migration/mover-threads.ts';

const started: Worker[] = [];
let threads: MoverThreads | undefined;

afterEach(async () => {
  await threads?.close();
  await Promise.all(started.splice(0).map((worker) => worker.terminate()));
});

function keep(worker: Worker): Worker {
  started.push(worker);
  return worker;
}

/** Threads are numbered in the order of their starts: this is the number that the next one gets. */
async function nextNumber(): Promise<number> {
  const worker = keep(new Worker('', { eval: true }));
  const { threadId } = worker;
  await worker.terminate();
  return threadId + 1;
}

test('one thread is kept ready, and the next is started when the last mover has ended', async () => {
  threads = new MoverThreads(true, 0);
  const first = await nextNumber();
  const [kept, other] = [keep(threads.take()), keep(threads.take())];
  expect(kept.threadId).toBeLessThan(first);
  expect(other.threadId).toBe(first);
  await kept.terminate();
  const second = await nextNumber();
  expect(second).toBe(first + 2);
  await other.terminate();
  // Timers of one duration come in their order: the next thread is being started then.
  await sleep(1);
  const third = await nextNumber();
  expect(third).toBe(second + 2);
  expect(keep(threads.take()).threadId).toBe(second);
});

test('without one kept ready each migration starts its own, and nothing stays', async () => {
  threads = new MoverThreads(false);
  const first = await nextNumber();
  const worker = keep(threads.take());
  expect(worker.threadId).toBe(first);
  await worker.terminate();
  expect(await nextNumber()).toBe(first + 2);
});
