/** The thread of one guest's NIC. Its owner is nic-owner.ts. */

import { parentPort, workerData } from 'node:worker_threads';
import { errorText } from '../../proto/errors.ts';
import { DEFAULT_ANNOUNCE } from '../../proto/guest-network.ts';
import { goFirst } from '../../proto/thread-priority.ts';
import { rehearseRequests } from '../guest/rehearsal.ts';
import { GuestNic } from './guest-nic.ts';
import type { FromNic, NicWorkerData, ToNic } from './nic-messages.ts';
import { createUplink } from './uplinks.ts';

const { shared, uplink: settings } = workerData as NicWorkerData;
const port = parentPort!;
const announce = settings.network.announce ?? DEFAULT_ANNOUNCE;
const nic = new GuestNic(shared, createUplink(settings), announce, (problem) =>
  post({ type: 'trouble', problem }),
);

function post(message: FromNic): void {
  port.postMessage(message);
}

async function close(): Promise<void> {
  try {
    await nic.close();
  } catch (error) {
    post({ type: 'trouble', problem: errorText(error) });
  }
  post({ type: 'closed' });
  // But for what the uplink still sends, it is the last thing that keeps the thread.
  port.close();
}

port.on('message', (_close: ToNic) => void close());
// A NIC does not wait for a processor, nor for its code.
goFirst();
rehearseRequests(shared.spec);
let problem: string | undefined;
try {
  await nic.start();
} catch (error) {
  problem = errorText(error);
}
post({ type: 'started', problem });
await nic.run();
