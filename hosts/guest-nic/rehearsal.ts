/**
 * A rehearsal of what an own address's sockets do. The first datagram and the first connection of a thread take up to a
 * millisecond longer than the next ones, because Node loads and compiles what they need. A guest's first clients at
 * its new place come in the gap that they notice, so the thread serves some of its own before, over loopback.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { REQUEST_BYTES } from '../../proto/guest-request.ts';
import { withLength } from '../../proto/message-stream.ts';
import { ClientSockets } from './client-sockets.ts';

const LOOPBACK = '127.0.0.1';
/** The second ones still take longer than the third. */
const ROUNDS = 3;

/** @throws Error when there is no loopback */
export async function rehearseSockets(): Promise<void> {
  const sockets = new ClientSockets({
    offer(flow, message) {
      sockets.send(flow, message);
      return true;
    },
  });
  const message = Buffer.alloc(REQUEST_BYTES);
  const datagrams = createSocket('udp4');
  const signal = AbortSignal.timeout(DEADLINES_MS.query);
  try {
    const { udpPort, tcpPort } = await sockets.listen(LOOPBACK, 0);
    for (let round = 0; round < ROUNDS; round++) {
      datagrams.send(message, udpPort, LOOPBACK);
      await once(datagrams, 'message', { signal });
      const stream = connect(tcpPort, LOOPBACK);
      stream.write(withLength(message));
      await once(stream, 'data', { signal }).finally(() => stream.destroy());
    }
  } finally {
    datagrams.close();
    sockets.close();
  }
}
