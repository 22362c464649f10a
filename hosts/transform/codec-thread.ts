/** A codec thread: compresses what its mover gives it (codec-workers.ts), one batch after the other. */

import { parentPort } from 'node:worker_threads';
import type { CodecJob, FromCodecThread } from './codec-messages.ts';
import { encodeWith } from './codecs/registry.ts';
import { costOf } from './transform-measure.ts';

const port = parentPort;
if (port === null) throw new Error('codec-thread.ts is a thread, not a program; a mover starts it');
const post = (message: FromCodecThread, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

port.on('message', ({ id, bytes, choice }: CodecJob) => {
  const { result, cost } = costOf(() => new Uint8Array(encodeWith(choice, bytes)));
  post({ type: 'coded', id, coded: result, cost }, [result.buffer]);
});
post({ type: 'ready' });
