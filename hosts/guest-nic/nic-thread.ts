/** What a guest's thread (guest-thread.ts) does as the guest's NIC. Its owner is nic-owner.ts. */

import type { MessagePort } from 'node:worker_threads';
import { errorText } from '../../proto/errors.ts';
import { DEFAULT_ANNOUNCE } from '../../proto/guest-network.ts';
import { goFirst } from '../../proto/thread-priority.ts';
import { rehearseRequests } from '../guest/rehearsal.ts';
import { GuestNic } from './guest-nic.ts';
import type { FromNic, NicWork, ToNic } from './nic-messages.ts';
import { createUplink } from './uplinks.ts';

/** Until the NIC is told to close. @throws when the guest's queues cannot be had */
export async function runNic({ shared, uplink: settings }: NicWork, port: MessagePort): Promise<void> {
  const announce = settings.network.announce ?? DEFAULT_ANNOUNCE;
  const post = (message: FromNic): void => port.postMessage(message);
  const nic = new GuestNic(shared, createUplink(settings), announce, (problem) =>
    post({ type: 'trouble', problem }),
  );
  port.on('message', (_close: ToNic) => void close(nic, port, post));
  // A NIC does not wait for a processor, nor for its code.
  goFirst();
  if (shared.spec.workload !== undefined) rehearseRequests(shared.spec.workload.kind);
  let problem: string | undefined;
  try {
    await nic.start();
  } catch (error) {
    problem = errorText(error);
  }
  post({ type: 'started', problem });
  await nic.run();
}

async function close(nic: GuestNic, port: MessagePort, post: (message: FromNic) => void): Promise<void> {
  try {
    await nic.close();
  } catch (error) {
    post({ type: 'trouble', problem: errorText(error) });
  }
  post({ type: 'closed' });
  // But for what the uplink still sends, it is the last thing that keeps the thread.
  port.close();
}
