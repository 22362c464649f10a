/** The thread of a NIC: takes the main thread's requests to its relay. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { errorText } from '../../proto/errors.ts';
import { RELAY_PRIORITY } from './limits.ts';
import { Relay } from './relay.ts';
import type { RelayAnswer, RelayQuestion, RelayRequest, RelayWorkerData } from './relay-messages.ts';

/** Where Linux lists the threads of a process, each with its name. */
const THREADS = '/proc/self/task';

/**
 * A link does not wait for a processor: where the system lets it (root, or CAP_SYS_NICE), the relay goes
 * before those whose traffic it carries. On Linux a priority belongs to the thread that sets it. V8's helpers
 * get it too: a thread that collects garbage, which a relay does some times per second, waits for them.
 */
function goFirst(): void {
  try {
    setPriority(0, RELAY_PRIORITY);
    for (const thread of collectorThreads()) setPriority(thread, RELAY_PRIORITY);
  } catch {
    // An ordinary user's relay has an ordinary thread; on a busy machine its delays are then less even.
  }
}

function collectorThreads(): number[] {
  const threads = existsSync(THREADS) ? readdirSync(THREADS) : [];
  return threads.filter((thread) => threadName(thread) === 'V8Worker').map(Number);
}

function threadName(thread: string): string {
  try {
    return readFileSync(join(THREADS, thread, 'comm'), 'utf8').trim();
  } catch {
    // It has ended.
    return '';
  }
}

const { seed } = workerData as RelayWorkerData;
const port = parentPort!;
const relay = new Relay(seed);

goFirst();

async function answer(question: RelayQuestion): Promise<Omit<RelayAnswer, 'id'>> {
  switch (question.kind) {
    case 'shape':
      relay.setShape(question.shape);
      return {};
    case 'fault':
      relay.setFault(question.fault);
      return {};
    case 'expose':
      return { port: await relay.expose(question.localPort, question.listenAddress, question.peer) };
    case 'dial':
      return { port: await relay.dial(question.address, question.port, question.peer) };
    case 'release':
      relay.release(question.port);
      return {};
    case 'stats':
      return { stats: relay.stats() };
    case 'close':
      relay.close();
      // The port is the last thing that keeps the thread.
      setImmediate(() => port.close());
      return {};
  }
}

port.on('message', ({ id, question }: RelayRequest) => {
  answer(question).then(
    (answered) => port.postMessage({ id, ...answered } satisfies RelayAnswer),
    (error: unknown) => port.postMessage({ id, problem: errorText(error) } satisfies RelayAnswer),
  );
});
