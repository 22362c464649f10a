/**
 * Rehearsals of what uplinks do. The first frame, datagram and connection of a thread take up to a millisecond longer
 * than the next ones, because Node loads and compiles what they need. A guest's first clients at its new place come in
 * the gap that they notice, so the thread serves some of its own before, over loopback. The second time nothing
 * happens.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import {
  decodeForwarderFrame,
  encodeFrame,
  FORWARDER_FLOW_BYTES,
  FORWARDER_FRAME_BYTES_MAX,
  flowNumber,
} from '../../proto/forwarder-wire.ts';
import { REQUEST_BYTES } from '../../proto/guest-request.ts';
import { MessageSplitter, withLength } from '../../proto/message-stream.ts';
import { ClientSockets } from './client-sockets.ts';

const LOOPBACK = '127.0.0.1';
/** The second ones still take longer than the third. */
const SOCKET_ROUNDS = 3;
/** Enough for the code to be compiled. */
const FRAME_ROUNDS = 200;

let hasSockets = false;
let hasFrames = false;

/** Where there is no loopback the first clients wait a little longer. */
export async function rehearseSockets(): Promise<void> {
  if (hasSockets) return;
  hasSockets = true;
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
    for (let round = 0; round < SOCKET_ROUNDS; round++) {
      datagrams.send(message, udpPort, LOOPBACK);
      await once(datagrams, 'message', { signal });
      const stream = connect(tcpPort, LOOPBACK);
      stream.write(withLength(message));
      await once(stream, 'data', { signal }).finally(() => stream.destroy());
    }
  } catch {
    // It was only a rehearsal.
  } finally {
    datagrams.close();
    sockets.close();
  }
}

/** Reads and writes frames that nobody sends, so that the first ones after a move find their code compiled. */
export function rehearseFrames(): void {
  if (hasFrames) return;
  hasFrames = true;
  const splitter = new MessageSplitter(FORWARDER_FRAME_BYTES_MAX);
  const flow = Buffer.alloc(FORWARDER_FLOW_BYTES);
  for (let round = 0; round < FRAME_ROUNDS; round++) {
    const message = Buffer.alloc(REQUEST_BYTES);
    splitter.push(withLength(encodeFrame({ kind: 'request', flow, message })));
    const bytes = splitter.next();
    const frame = typeof bytes === 'string' ? undefined : decodeForwarderFrame(bytes);
    if (frame?.kind !== 'request' || flowNumber(frame.flow) !== 0)
      throw new Error('a frame was not understood');
    withLength(encodeFrame({ kind: 'response', flow, message }));
    withLength(encodeFrame({ kind: 'taken', number: round }));
    withLength(encodeFrame({ kind: 'announce', epoch: 0n, round }));
  }
}
