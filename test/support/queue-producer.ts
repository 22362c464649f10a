/** The other side of a queue, on a thread of its own: puts in numbered messages of all lengths, as fast as it can. */

import { workerData } from 'node:worker_threads';
import type { SharedGuest } from '../../hosts/guest/shared-guest.ts';
import { type Queue, Virtqueue } from '../../hosts/guest/virtqueue.ts';
import { FLOW_BYTES } from '../../proto/guest-network.ts';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';

const { shared, queue: which, count } = workerData as { shared: SharedGuest; queue: Queue; count: number };
const queue = new Virtqueue(shared, which);
const flow = Buffer.alloc(FLOW_BYTES);
const message = Buffer.alloc(MESSAGE_BYTES_MAX);
for (let index = 0; index < count; index++) {
  const bytes = message.subarray(0, index % (MESSAGE_BYTES_MAX + 1)).fill(index % 251);
  flow.writeUInt32LE(index);
  while (!queue.put(flow, bytes));
}
