/**
 * A NIC at full speed on a thread of its own, as far as guest memory sees it: bursts of requests of full length, and of
 * taking responses out, for ever. What it asks cannot be read, so that the guest refuses it at once.
 */

import { workerData } from 'node:worker_threads';
import { NIC_BELL } from '../../hosts/guest/control-layout.ts';
import { NicControl } from '../../hosts/guest/nic-control.ts';
import type { SharedGuest } from '../../hosts/guest/shared-guest.ts';
import { Packet, QUEUE, Virtqueue } from '../../hosts/guest/virtqueue.ts';
import { BURST_MESSAGES_MAX } from '../../hosts/guest-nic/limits.ts';
import { FLOW_BYTES } from '../../hosts/guest-nic/uplink.ts';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';

const shared = workerData as SharedGuest;
const words = new Int32Array(shared.control);
const control = new NicControl(shared.control);
const requests = new Virtqueue(shared, QUEUE.REQUESTS);
const responses = new Virtqueue(shared, QUEUE.RESPONSES);
const packet = new Packet();
const flow = Buffer.alloc(FLOW_BYTES);
const message = Buffer.alloc(MESSAGE_BYTES_MAX);
for (let number = 0; ; ) {
  const rings = control.rings();
  if (!control.enter()) {
    // A resume rings.
    Atomics.wait(words, NIC_BELL, rings);
    continue;
  }
  for (let count = 0; count < BURST_MESSAGES_MAX; count++) {
    flow.writeUInt32LE(number);
    message.fill(number & 0xff);
    if (requests.put(flow, message)) number = (number + 1) >>> 0;
    responses.take(packet);
  }
  control.leave();
  control.kick();
}
