/**
 * Traffic of a set rate between two hosts, to have something on a link besides a migration: it offers so many bytes per
 * second however many arrive, as a stream of video does, and is counted where it arrives. It takes the same way as
 * probes and migrations.
 */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import type { TrafficSample } from '../../proto/generated/godwit/v1/network.ts';
import { nowMs } from '../clock.ts';
import { TRAFFIC_OFFER_MS, TRAFFIC_TOLD_MS, TRAFFIC_WAITING_BYTES_MAX } from './limits.ts';
import {
  decodeRateAnswer,
  encodeHello,
  encodeRateAnswer,
  PROBE_KINDS,
  RATE_ANSWER_BYTES,
} from './probe-protocol.ts';

const WRITE_BYTES_MAX = 256 * 1024;
const MS_PER_S = 1000;

/** Tells the sender how much has arrived, again and again, until it ends. */
export function countTraffic(socket: Socket, early: number): void {
  const startMs = performance.now();
  let receivedBytes = early;
  socket.on('data', (chunk: Buffer) => {
    receivedBytes += chunk.length;
  });
  const timer = setInterval(() => {
    socket.write(encodeRateAnswer({ receivedBytes, measuredMs: performance.now() - startMs }));
  }, TRAFFIC_TOLD_MS);
  socket.once('close', () => clearInterval(timer));
  socket.on('end', () => socket.end());
}

export interface TrafficSettings {
  readonly address: string;
  readonly port: number;
  readonly token: string;
  readonly rateBytesPerS: number;
}

/**
 * Sends until the signal, and answers each time when the other side has told what has arrived.
 *
 * @throws Error when the connection does not come to stand, or is lost
 */
export async function* sendTraffic(
  { address, port, token, rateBytesPerS }: TrafficSettings,
  signal: AbortSignal,
): AsyncGenerator<TrafficSample, void, undefined> {
  const socket = connect({ host: address, port, noDelay: true });
  socket.setTimeout(DEADLINES_MS.dataSilence, () => socket.destroy(new Error('nothing came for too long')));
  const end = (): unknown => socket.destroy();
  signal.addEventListener('abort', end, { once: true });
  let offering: NodeJS.Timeout | undefined;
  try {
    await once(socket, 'connect', { signal });
    socket.write(encodeHello({ kind: PROBE_KINDS.traffic, token, warmUpMs: 0, measureMs: 0 }));
    const offer = new Offer(socket, rateBytesPerS);
    offering = setInterval(() => offer.write(), TRAFFIC_OFFER_MS);
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk]);
      for (; rest.length >= RATE_ANSWER_BYTES; rest = rest.subarray(RATE_ANSWER_BYTES)) {
        const { receivedBytes, measuredMs } = decodeRateAnswer(rest);
        yield { atMs: nowMs(), offeredBytes: offer.offeredBytes, receivedBytes, receiverMs: measuredMs };
      }
    }
    if (!signal.aborted) throw new Error('the other side ended it: its token may be another');
  } catch (error) {
    if (signal.aborted) return;
    throw new Error(`traffic to ${address}:${port}: ${errorText(error)}`, { cause: error });
  } finally {
    clearInterval(offering);
    signal.removeEventListener('abort', end);
    socket.destroy();
  }
}

/** What is due is written; what the connection does not take is dropped, and not made up for. */
class Offer {
  readonly #socket: Socket;
  readonly #bytesPerMs: number;
  readonly #block = Buffer.alloc(WRITE_BYTES_MAX);
  readonly #startMs = performance.now();
  #passedBytes = 0;

  constructor(socket: Socket, rateBytesPerS: number) {
    this.#socket = socket;
    this.#bytesPerMs = rateBytesPerS / MS_PER_S;
  }

  get offeredBytes(): number {
    return Math.floor((performance.now() - this.#startMs) * this.#bytesPerMs);
  }

  write(): void {
    const due = this.offeredBytes;
    while (this.#passedBytes < due) {
      const bytes = Math.min(due - this.#passedBytes, WRITE_BYTES_MAX);
      this.#passedBytes += bytes;
      if (this.#socket.writableLength > TRAFFIC_WAITING_BYTES_MAX) continue;
      this.#socket.write(this.#block.subarray(0, bytes));
    }
  }
}
