/**
 * A thread of a guest: its first message says whether it is a vCPU or the NIC. One that is kept ready
 * (ready-threads.ts) has loaded both, and rehearsed what it can without a guest.
 */

import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { ANSWERING_WORKLOADS } from '../proto/names.ts';
import { returnStartMemory } from './guest/memory-return.ts';
import type { VcpuWork } from './guest/worker-messages.ts';
import type { NicWork } from './guest-nic/nic-messages.ts';
import type { ThreadStart } from './ready-threads.ts';

const port = parentPort;
if (port === null) throw new Error('guest-thread.ts is a thread, not a program; a host starts it');

async function begin(work: VcpuWork | NicWork): Promise<void> {
  if (work.role === 'vcpu') (await import('./guest/vcpu.ts')).runVcpu(work);
  else await (await import('./guest-nic/nic-thread.ts')).runNic(work, port!);
}

async function prepare(): Promise<void> {
  await import('./guest/vcpu.ts');
  await import('./guest-nic/nic-thread.ts');
  const { rehearseRequests } = await import('./guest/rehearsal.ts');
  const { rehearseFrames, rehearseSockets } = await import('./guest-nic/rehearsal.ts');
  for (const kind of ANSWERING_WORKLOADS) rehearseRequests(kind);
  rehearseFrames();
  await rehearseSockets();
  // So that the next thread finds what this one had to compile; writes nothing when it had nothing to.
  flushCompileCache();
  returnStartMemory();
}

// An error, also in what is only prepared, ends the thread, and its owner hears of it.
port.once('message', (work: VcpuWork | NicWork) => void begin(work));
if ((workerData as ThreadStart).isKeptReady) await prepare();
