/**
 * A mover's thread, of either side. It loads what both sides need, and then waits for its work: so that a host
 * can keep one ready (../ready-threads.ts), and a migration need not wait for a thread's start. One that is kept ready
 * rehearses meanwhile.
 */

import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { returnStartMemory } from '../guest/memory-return.ts';
import type { ThreadStart } from '../ready-threads.ts';
import { DestinationMover } from './destination-mover.ts';
import type { MoverWork } from './messages.ts';
import { rehearse } from './rehearsal.ts';
import { SourceMover } from './source-mover.ts';

const port = parentPort;
if (port === null) throw new Error('mover.ts is a thread, not a program; a host starts it');
const waiting = Promise.withResolvers<MoverWork>();
let isAwaited = false;
port.once('message', (work: MoverWork) => {
  isAwaited = true;
  waiting.resolve(work);
});
if ((workerData as ThreadStart).isKeptReady) {
  await rehearse(() => isAwaited);
  if (!isAwaited) returnStartMemory();
}
// So that the next thread finds what this one had to compile; writes nothing when it had nothing to.
flushCompileCache();
const work = await waiting.promise;
const mover =
  work.side === 'source' ? new SourceMover(work.data, port) : new DestinationMover(work.data, port);
void mover.run();
