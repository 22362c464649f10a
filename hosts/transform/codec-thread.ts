/** A codec thread: compresses what its mover gives it (codec-workers.ts), one batch after the other. */

import { parentPort } from 'node:worker_threads';
import type { CodecJob, FromCodecThread } from './codec-messages.ts';
import { codeWith } from './codecs/registry.ts';

const port = parentPort;
if (port === null) throw new Error('codec-thread.ts is a thread, not a program; a mover starts it');
const post = (message: FromCodecThread, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

port.on('message', ({ id, bytes, choice }: CodecJob) => {
  const { codedBytes, coded, cost } = codeWith(choice, bytes);
  // Its own memory, which can be given away.
  const own = coded && new Uint8Array(coded);
  post({ type: 'coded', id, codedBytes, coded: own, cost }, own === undefined ? [] : [own.buffer]);
});
post({ type: 'ready' });
