/**
 * What the wire costs without a guest: frames through the encoder and the decoder with no socket between
 * them, and a socket of Node with no frames. To find what has become slower; there is no target.
 */

import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { nowMs } from '../hosts/clock.ts';
import { ChannelReceiver } from '../hosts/migration/channel-receiver.ts';
import { PagePlacer } from '../hosts/migration/page-placer.ts';
import { ReceivedMemory } from '../hosts/migration/received-memory.ts';
import { encodeControl, encodePages, type PageRun, RunKind } from '../hosts/migration/wire.ts';
import { PageDecoder } from '../hosts/transform/page-decoder.ts';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { Child, withDeadline } from './children.ts';
import { type Row, row } from './row.ts';

const WRITER = fileURLToPath(new URL('./wire-writer.ts', import.meta.url));
const ROUNDS = 9;
const FRAMES = 4096;
const PAGE_COUNT = 65_536;
const LONG_RUN_PAGES = 256;
const GATHERED_PAGES = 64;
const SOCKET_BYTES = 1024 ** 3;
const READ_BYTES = 1024 ** 2;
const NS_PER_MS = 1e6;
const BYTES_PER_MIB = 1024 ** 2;

/** Frames of one kind: the head of each, and the payload that all of them have. */
interface Frames {
  readonly name: string;
  readonly head: (sequence: number) => Buffer;
  readonly payload: Uint8Array;
}

const longRun: PageRun[] = [{ firstPage: 0, pageCount: LONG_RUN_PAGES, kind: RunKind.DATA }];
/** Every other page, so that no two of them are one run. */
const gathered = Array.from(
  { length: GATHERED_PAGES },
  (_, index): PageRun => ({ firstPage: index * 2, pageCount: 1, kind: RunKind.DATA }),
);

const KINDS: readonly Frames[] = [
  {
    name: 'a frame of control',
    head: (sequence) => encodeControl('ROUND_END', { round: 1 }, sequence),
    payload: new Uint8Array(0),
  },
  {
    name: `a frame of ${GATHERED_PAGES} lone pages`,
    head: (sequence) => encodePages(gathered, sequence),
    payload: new Uint8Array(GATHERED_PAGES * PAGE_BYTES).fill(1),
  },
  {
    name: `a frame of one run of ${LONG_RUN_PAGES} pages`,
    head: (sequence) => encodePages(longRun, sequence),
    payload: new Uint8Array(LONG_RUN_PAGES * PAGE_BYTES).fill(1),
  },
];

/** How long it takes to write, read and place frames, in ms. */
function timeFrames({ head, payload }: Frames): number {
  const memory = new ReceivedMemory(new SharedArrayBuffer(PAGE_COUNT * PAGE_BYTES));
  const placer = new PagePlacer(memory, new PageDecoder(memory, {}));
  const nothing = new Uint8Array(0);
  let failure: Error | undefined;
  const { onread } = new ChannelReceiver(
    { pageCount: PAGE_COUNT, channel: 0, channelCount: 1 },
    {
      received: () => {},
      place: (frame) => (frame.type === 'PAGES' ? placer.target(frame) : nothing),
      frame: (frame) => {
        if (frame.type === 'PAGES') placer.place(frame);
      },
      failed: (error) => {
        failure = error;
      },
    },
  );
  const feed = (bytes: Uint8Array): void => {
    // As a socket would: into the place that the receiver names, as much as fits there.
    for (let offset = 0; offset < bytes.byteLength && failure === undefined; ) {
      const space = onread.buffer();
      const piece = bytes.subarray(offset, offset + space.byteLength);
      space.set(piece);
      offset += piece.byteLength;
      onread.callback(piece.byteLength, space);
    }
  };
  const beginMs = nowMs();
  for (let sequence = 0; sequence < FRAMES; sequence++) {
    feed(head(sequence));
    feed(payload);
  }
  const elapsedMs = nowMs() - beginMs;
  if (failure !== undefined) throw failure;
  return elapsedMs;
}

/** Bytes per second of one connection between two processes, from a buffer into a buffer. */
async function socketBytesPerS(): Promise<number> {
  const writer = new Child([process.execPath, WRITER, String(SOCKET_BYTES)]);
  try {
    const port = Number((await writer.line('port ', DEADLINES_MS.processStart)).slice('port '.length));
    const buffer = new Uint8Array(READ_BYTES);
    return await withDeadline<number>(DEADLINES_MS.dataSilence, 'a socket', (resolve, reject) => {
      let received = 0;
      let beginMs = 0;
      const callback = (byteCount: number): boolean => {
        if (received === 0) beginMs = nowMs();
        received += byteCount;
        if (received === SOCKET_BYTES) resolve((received / (nowMs() - beginMs)) * 1000);
        return true;
      };
      connect({ host: '127.0.0.1', port, onread: { buffer, callback } }).on('error', reject);
    });
  } finally {
    await writer.stop();
  }
}

export async function wire(): Promise<Row[]> {
  const elapsedMs = KINDS.map((): number[] => []);
  const socket: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, frames] of KINDS.entries()) elapsedMs[index]!.push(timeFrames(frames));
    socket.push((await socketBytesPerS()) / BYTES_PER_MIB);
  }
  const godwit = (samples: readonly number[]) => ({ name: 'godwit', samples });
  const rows = KINDS.flatMap(({ name, payload }, index) => {
    const work = `${name}, encoded, decoded and placed, no socket`;
    const times = elapsedMs[index]!;
    const perFrame = times.map((ms) => (ms * NS_PER_MS) / FRAMES);
    const frameRow = row({ work, measure: 'time per frame', unit: 'ns' }, godwit(perFrame));
    if (payload.byteLength === 0) return [frameRow];
    const perByte = perFrame.map((ns) => ns / payload.byteLength);
    return [frameRow, row({ work, measure: 'time per byte', unit: 'ns' }, godwit(perByte))];
  });
  const alone = { work: 'a socket over loopback, no frames', measure: 'bytes per second', unit: 'MiB/s' };
  return [...rows, row(alone, godwit(socket))];
}
