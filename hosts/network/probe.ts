/**
 * Measures what a path between two hosts carries and how long it takes, over TCP and the same NICs as a
 * migration. The receiver does the counting: what a sender has handed to its kernel says nothing of the link.
 */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { DEADLINES_MS, PATIENCE } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import type { ProbeRequest, ProbeResult } from '../../proto/generated/godwit/v1/network.ts';
import { PROBE_CONNECTIONS_MAX, PROBE_MS_MAX, PROBE_ROUND_TRIPS_MAX } from './limits.ts';
import {
  decodeHello,
  decodeRateAnswer,
  encodeHello,
  encodeRateAnswer,
  HELLO_BYTES,
  PING_BYTES,
  PROBE_KINDS,
  type ProbeKind,
  RATE_ANSWER_BYTES,
  type RateAnswer,
} from './probe-protocol.ts';
import { countTraffic } from './traffic.ts';

export interface ProbeServer {
  readonly port: number;
  close(): Promise<void>;
}

/** What a sender of a rate probe hands to its kernel at a time. */
const WRITE_BYTES = 256 * 1024;

/** What a limited offer begins with, and how often it goes on. */
const OFFER_BYTES_MIN = 64 * 1024;
const OFFER_EVERY_MS = 2;

/**
 * Answers probes that know the token, until it is closed.
 *
 * @param address where to listen
 */
export async function serveProbe(address: string, token: string): Promise<ProbeServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (sockets.size > PROBE_CONNECTIONS_MAX) socket.resetAndDestroy();
    else answerProbe(socket, token);
  });
  server.listen({ host: address, port: 0 });
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function answerProbe(socket: Socket, token: string): void {
  socket.setTimeout(DEADLINES_MS.dataSilence, () => socket.destroy());
  let early = Buffer.alloc(0);
  socket.on('data', function hello(chunk: Buffer) {
    early = Buffer.concat([early, chunk]);
    if (early.length < HELLO_BYTES) return;
    socket.off('data', hello);
    const wanted = decodeHello(early.subarray(0, HELLO_BYTES), token);
    if (typeof wanted === 'string' || !(wanted.warmUpMs + wanted.measureMs <= PROBE_MS_MAX)) {
      socket.resetAndDestroy();
      return;
    }
    if (wanted.kind === PROBE_KINDS.roundTrips) {
      // The first ping may have come along with the hello.
      socket.write(early.subarray(HELLO_BYTES));
      socket.on('data', (ping: Buffer) => socket.write(ping));
      socket.on('end', () => socket.end());
    } else if (wanted.kind === PROBE_KINDS.traffic) countTraffic(socket, early.length - HELLO_BYTES);
    else countRate(socket, wanted.warmUpMs, wanted.measureMs);
  });
}

/**
 * Counts from the first read after the warm-up to the first one after the measure; then reads on until the
 * sender ends.
 */
function countRate(socket: Socket, warmUpMs: number, measureMs: number): void {
  let firstMs: number | undefined;
  let startMs: number | undefined;
  let receivedBytes = 0;
  let answered = false;
  socket.on('data', (chunk: Buffer) => {
    if (answered) return;
    const nowMs = performance.now();
    firstMs ??= nowMs;
    if (startMs === undefined) {
      if (nowMs - firstMs >= warmUpMs) startMs = nowMs;
      return;
    }
    receivedBytes += chunk.length;
    const measuredMs = nowMs - startMs;
    if (measuredMs < measureMs) return;
    answered = true;
    socket.write(encodeRateAnswer({ receivedBytes, measuredMs }));
  });
  socket.on('end', () => socket.end());
}

/**
 * Measures round trips first, on the idle path, then the rate.
 *
 * @param offeredBytesPerS how much is sent at most, 0 for no limit. More than the link carries fills it;
 *   much more fills the kernel's buffers, which a slow link takes minutes to empty
 * @throws Error when the other side cannot be reached, refuses, or does not answer in time
 */
export async function runProbe(request: ProbeRequest, offeredBytesPerS = 0): Promise<ProbeResult> {
  const problem = probeRequestProblem(request);
  if (problem !== undefined) throw new Error(`the probe is refused: ${problem}`);
  const { roundTripCount, measureMs } = request;
  const trips = roundTripCount === 0 ? [] : await during(request, PROBE_KINDS.roundTrips, roundTrips);
  const { receivedBytes, measuredMs } =
    measureMs === 0
      ? { receivedBytes: 0, measuredMs: 0 }
      : await during(request, PROBE_KINDS.rate, (socket) => saturate(socket, offeredBytesPerS));
  const sorted = trips.toSorted((a, b) => a - b);
  return {
    rateBytesPerS: measuredMs === 0 ? 0 : (receivedBytes / measuredMs) * 1000,
    receivedBytes: BigInt(receivedBytes),
    measuredMs,
    roundTripMs: sorted[sorted.length >> 1] ?? 0,
    roundTripMinMs: sorted[0] ?? 0,
    roundTripMaxMs: sorted.at(-1) ?? 0,
  };
}

/** What is wrong with a probe's request, or undefined. */
export function probeRequestProblem({
  roundTripCount,
  warmUpMs,
  measureMs,
}: ProbeRequest): string | undefined {
  if (!(roundTripCount >= 0 && roundTripCount <= PROBE_ROUND_TRIPS_MAX)) {
    return `${roundTripCount} round trips; allowed is 0 to ${PROBE_ROUND_TRIPS_MAX}`;
  }
  if (warmUpMs >= 0 && measureMs >= 0 && warmUpMs + measureMs <= PROBE_MS_MAX) return undefined;
  return `warm-up ${warmUpMs} ms and measure ${measureMs} ms; together allowed is 0 to ${PROBE_MS_MAX} ms`;
}

/** Does one part of a probe over a connection of its own, within a deadline. */
async function during<Answer>(
  request: ProbeRequest,
  kind: ProbeKind,
  part: (socket: Socket, request: ProbeRequest) => Promise<Answer>,
): Promise<Answer> {
  const { address, port, token, warmUpMs, measureMs } = request;
  const socket = connect({ host: address, port, noDelay: true, allowHalfOpen: true });
  const withinMs = DEADLINES_MS.dataSilence + (warmUpMs + measureMs) * PATIENCE;
  const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${withinMs} ms`)), withinMs);
  // An end before the answer is a refusal; whoever waits for an event then gets this error.
  socket.once('end', () => socket.destroy(new Error('it ended the connection: its token may be another')));
  try {
    await once(socket, 'connect');
    socket.write(encodeHello({ kind, token, warmUpMs, measureMs }));
    return await part(socket, request);
  } catch (cause) {
    throw new Error(`probe of ${address}:${port}: ${errorText(cause)}`, { cause });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

async function roundTrips(socket: Socket, { roundTripCount }: ProbeRequest): Promise<number[]> {
  const trips: number[] = [];
  // The first trip is the connection's own way through the relays, and does not count.
  for (let trip = 0; trip <= roundTripCount; trip++) {
    const sentMs = performance.now();
    const answer = receive(socket, PING_BYTES);
    socket.write(Buffer.alloc(PING_BYTES));
    await answer;
    if (trip > 0) trips.push(performance.now() - sentMs);
  }
  return trips;
}

/** Sends until the other side has measured, then waits until it has read everything. */
async function saturate(socket: Socket, offeredBytesPerS: number): Promise<RateAnswer> {
  const block = Buffer.alloc(WRITE_BYTES);
  const startMs = performance.now();
  let sentBytes = 0;
  let done = false;
  const offered = () => {
    if (offeredBytesPerS === 0) return WRITE_BYTES;
    const untilNow = OFFER_BYTES_MIN + (offeredBytesPerS * (performance.now() - startMs)) / 1000;
    return Math.min(Math.floor(untilNow) - sentBytes, WRITE_BYTES);
  };
  const fill = () => {
    for (let bytes = offered(); !done && !socket.writableNeedDrain && bytes > 0; bytes = offered()) {
      sentBytes += bytes;
      socket.write(block.subarray(0, bytes));
    }
  };
  const pace = offeredBytesPerS === 0 ? undefined : setInterval(fill, OFFER_EVERY_MS);
  socket.once('close', () => clearInterval(pace));
  socket.on('drain', fill);
  const answer = receive(socket, RATE_ANSWER_BYTES);
  fill();
  const answered = decodeRateAnswer(await answer);
  done = true;
  socket.removeAllListeners('end');
  const drained = once(socket, 'end');
  socket.end();
  socket.resume();
  await drained;
  return answered;
}

/** The next so many bytes. @throws the socket's error */
function receive(socket: Socket, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      if (got.length < bytes) return;
      socket.off('data', onData);
      socket.off('error', reject);
      resolve(got);
    };
    socket.on('data', onData);
    socket.once('error', reject);
  });
}
