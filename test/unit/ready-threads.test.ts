/** Goal: a migration and its guest find threads that have started, and no thread starts while a guest moves. */

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { Guest } from '../../hosts/guest/guest.ts';
import { ReadyThreads, type ThreadKind } from '../../hosts/ready-threads.ts';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { guestSpec } from './guest/specs.ts';

const started: Worker[] = [];
let threads: ReadyThreads | undefined;
let guest: Guest | undefined;

afterEach(async () => {
  await guest?.destroy();
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
  threads = new ReadyThreads(['mover'], 0);
  const first = await nextNumber();
  const [kept, other] = [keep(threads.take('mover')), keep(threads.take('mover'))];
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
  expect(keep(threads.take('mover')).threadId).toBe(second);
});

test('without one kept ready each migration starts its own, and nothing stays', async () => {
  threads = new ReadyThreads([]);
  const first = await nextNumber();
  const worker = keep(threads.take('mover'));
  expect(worker.threadId).toBe(first);
  await worker.terminate();
  expect(await nextNumber()).toBe(first + 2);
});

/** A pool that keeps one thread ready, and that thread. */
async function poolOf(kind: ThreadKind): Promise<[ReadyThreads, Worker]> {
  const created = once(process, 'worker') as Promise<[Worker]>;
  threads = new ReadyThreads([kind], 0);
  const [worker] = await created;
  return [threads, keep(worker)];
}

test('a guest that arrives gets the thread that is ready, and runs on it', async () => {
  const [pool, ready] = await poolOf('guest');
  const taken: Worker[] = [];
  guest = await Guest.incoming(guestSpec(), undefined, (kind) => {
    taken.push(pool.take(kind));
    return keep(taken.at(-1)!);
  });
  expect(taken).toEqual([ready]);
  await guest.control.waitParkedAsync(DEADLINES_MS.threadStart);
  await guest.resume();
  const ended = once(ready, 'exit');
  await guest.destroy();
  await ended;
});

test('a thread that dies while it is kept ready harms nobody, and the next guest gets another', async () => {
  const [pool, ready] = await poolOf('guest');
  const exited = new Promise((resolve) => ready.once('exit', resolve));
  // No work: it throws.
  ready.postMessage(undefined);
  await exited;
  const other = keep(pool.take('guest'));
  expect(other).not.toBe(ready);
  await once(other, 'online');
});

test('where the system has no more threads the host lives on, and tries again later', async () => {
  let tries = 0;
  const [pool, kept] = await new Promise<[ReadyThreads, Worker]>((resolve) => {
    const pool: ReadyThreads = new ReadyThreads(['mover'], 0, (kind, data) => {
      tries++;
      if (tries === 1) throw new Error('EAGAIN');
      const worker = keep(
        new Worker('setInterval(() => {}, 1000)', { eval: true, name: kind, workerData: data }),
      );
      if (data.isKeptReady) resolve([pool, worker]);
      return worker;
    });
    threads = pool;
    void keep(pool.take('mover')).terminate();
  });
  expect(tries).toBe(3);
  expect(pool.take('mover')).toBe(kept);
});

test('the thread that is kept ready ends with the host, and no other is started then', async () => {
  const [pool, ready] = await poolOf('guest');
  const exited = once(ready, 'exit');
  keep(pool.take('mover'));
  await Promise.all([pool.close(), exited]);
  const next = await nextNumber();
  await started.at(-2)?.terminate();
  // Timers of one duration come in their order: the next thread would be started by then.
  await sleep(1);
  expect(await nextNumber()).toBe(next + 1);
});
