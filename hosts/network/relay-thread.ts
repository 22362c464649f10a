/** The thread of a NIC: takes the main thread's requests to its relay. */

import { parentPort, workerData } from 'node:worker_threads';
import { errorText } from '../../proto/errors.ts';
import { goFirst } from '../../proto/thread-priority.ts';
import { Relay } from './relay.ts';
import type { RelayAnswer, RelayQuestion, RelayRequest, RelayWorkerData } from './relay-messages.ts';

const { seed } = workerData as RelayWorkerData;
const port = parentPort!;
const relay = new Relay(seed);

// A link does not wait for a processor.
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
