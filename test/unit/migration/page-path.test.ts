/**
 * Goal: whatever list of pages is sent, over however many channels and under whatever limit, exactly these
 * pages arrive, and the counts are right. Method: the sending and the receiving side over real sockets,
 * memory against memory.
 */

import { connect, createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BandwidthLimit } from '../../../hosts/migration/bandwidth-limit.ts';
import { ChannelReceiver } from '../../../hosts/migration/channel-receiver.ts';
import { ChannelSender } from '../../../hosts/migration/channel-sender.ts';
import { PagePlacer } from '../../../hosts/migration/page-placer.ts';
import { PageSender } from '../../../hosts/migration/page-sender.ts';
import { ReceivedMemory } from '../../../hosts/migration/received-memory.ts';
import { Silence } from '../../../hosts/migration/silence.ts';
import { isZeroPage } from '../../../hosts/migration/zero-page.ts';
import { PageDecoder } from '../../../hosts/transform/page-decoder.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';

const PAGE_COUNT = 1200;
const signal = new AbortController().signal;
const silence = new Silence('the test', 60_000, signal);

let server: Server;
let port: number;
let accepted: (socket: Socket) => void;

beforeEach(async () => {
  server = createServer((socket) => accepted(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as { port: number }).port;
});

afterEach(() => {
  server.close();
});

interface Path {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sender: PageSender;
  /** Sends these pages and waits until they have been placed. */
  send(pages: readonly number[]): Promise<void>;
  close(): void;
}

async function makePath(channelCount: number, bytesPerS: number, pageCount = PAGE_COUNT): Promise<Path> {
  const memory = new SharedArrayBuffer(pageCount * PAGE_BYTES);
  const there = new SharedArrayBuffer(pageCount * PAGE_BYTES);
  const received = new ReceivedMemory(there);
  const senders: ChannelSender[] = [];
  const sockets: Socket[] = [];
  let failure: Error | undefined;
  let roundsEnded = 0;
  let wake = (): void => {};
  for (let channel = 0; channel < channelCount; channel++) {
    const placer = new PagePlacer(received, new PageDecoder(received, {}));
    const { onread } = new ChannelReceiver(
      { pageCount, channel, channelCount },
      {
        received: () => {},
        place: (frame) => placer.target(frame as Parameters<PagePlacer['target']>[0]),
        frame: (frame) => {
          if (frame.type === 'PAGES') placer.place(frame);
          else if (++roundsEnded % channelCount === 0) wake();
        },
        failed: (error) => {
          failure = error;
          wake();
        },
      },
    );
    const near = new Promise<Socket>((resolve) => {
      accepted = resolve;
    });
    sockets.push(connect({ port, host: '127.0.0.1', onread }), await near);
    senders.push(new ChannelSender(sockets.at(-1) as Socket, silence));
  }
  const sender = new PageSender(memory, senders, new BandwidthLimit(bytesPerS), signal, {
    zero: true,
    encoder: undefined,
  });
  return {
    source: new Uint8Array(memory),
    destination: new Uint8Array(there),
    sender,
    send: async (pages) => {
      const placed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      expect(await sender.send(Uint32Array.from(pages), 0, pages.length, () => true)).toBe(pages.length);
      for (const channel of senders) channel.send('ROUND_END', { round: 1 });
      await placed;
      expect(failure).toBeUndefined();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Ascending pages in runs of every length, and which of them hold something. */
const pageLists = fc
  .array(fc.record({ gap: fc.nat(40), length: fc.integer({ min: 1, max: 300 }), zeroEvery: fc.nat(30) }), {
    maxLength: 12,
  })
  .map((runs) => {
    const pages: { page: number; isZero: boolean }[] = [];
    let page = 0;
    for (const { gap, length, zeroEvery } of runs) {
      page += gap;
      for (let index = 0; index < length && page < PAGE_COUNT; index++, page++) {
        pages.push({ page, isZero: zeroEvery > 0 && index % zeroEvery === 0 });
      }
    }
    return pages;
  });

describe('pages on their way', () => {
  test('arrive, these and no others, with zero pages as marks, twice in a row', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, 2, 3),
        fc.constantFrom(0, 200_000_000),
        fc.array(pageLists, { minLength: 2, maxLength: 2 }),
        async (channelCount, bytesPerS, lists) => {
          const path = await makePath(channelCount, bytesPerS);
          try {
            const expected = new Uint8Array(path.destination.length);
            for (const [round, list] of lists.entries()) {
              // Also the pages that are not sent have changed.
              path.source.fill(round + 1);
              for (const { page, isZero } of list) {
                const start = page * PAGE_BYTES;
                if (isZero) path.source.fill(0, start, start + PAGE_BYTES);
                else path.source[start + 5] = page & 0xff;
                expected.set(path.source.subarray(start, start + PAGE_BYTES), start);
              }
              await path.send(list.map(({ page }) => page));
              expect(Buffer.compare(path.destination, expected)).toBe(0);
            }
            const all = lists.flat();
            const distinct = new Set(all.map(({ page }) => page)).size;
            expect(path.sender.counts).toMatchObject({
              zeroPages: all.filter(({ isZero }) => isZero).length,
              dataPages: all.filter(({ isZero }) => !isZero).length,
              resentPages: all.length - distinct,
            });
          } finally {
            path.close();
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('arrive when they are more runs than a frame takes', async () => {
    const path = await makePath(1, 0);
    try {
      path.source.fill(1);
      const everyPage = Array.from({ length: PAGE_COUNT }, (_, page) => page);
      await path.send(everyPage);
      path.source.fill(0);
      const everyOther = everyPage.filter((page) => page % 2 === 0);
      await path.send(everyOther);
      const zeroes = everyPage.filter((page) => path.destination[page * PAGE_BYTES] === 0);
      expect(zeroes).toEqual(everyOther);
    } finally {
      path.close();
    }
  });

  test('stop after a frame when they are told to, and say where', async () => {
    const path = await makePath(1, 0);
    try {
      path.source.fill(1);
      const pages = Uint32Array.from({ length: PAGE_COUNT }, (_, page) => page);
      expect(await path.sender.send(pages, 0, PAGE_COUNT, () => false)).toBe(256);
      expect(path.sender.counts.dataPages).toBe(256);
    } finally {
      path.close();
    }
  });
});

test('a page with one byte that is not zero is no zero page, wherever the byte is', () => {
  const memory = new Uint8Array(3 * PAGE_BYTES);
  const words = new Int32Array(memory.buffer);
  memory.fill(0xff, 0, PAGE_BYTES);
  memory.fill(0xff, 2 * PAGE_BYTES);
  expect(isZeroPage(words, 1)).toBe(true);
  for (let byte = PAGE_BYTES; byte < 2 * PAGE_BYTES; byte++) {
    memory[byte] = 0x80;
    expect(isZeroPage(words, 1)).toBe(false);
    memory[byte] = 0;
  }
});

test('pages beyond 4 GiB arrive at their places, alone, in long runs and as zeroes', async () => {
  const pagesIn4Gib = 2 ** 32 / PAGE_BYTES;
  // Never touched, the rest of it takes no memory.
  const path = await makePath(2, 0, pagesIn4Gib + PAGE_COUNT);
  const pages = [3, 5, 6, ...Array.from({ length: 40 }, (_, index) => 600 + index)];
  const beyond = pages.map((page) => pagesIn4Gib + page);
  for (const page of beyond) path.source.fill(page % 251, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  path.source.fill(0, beyond[0]! * PAGE_BYTES, (beyond[0]! + 1) * PAGE_BYTES);
  path.destination.fill(9, beyond[1]! * PAGE_BYTES, (beyond[1]! + 1) * PAGE_BYTES);
  await path.send(beyond);
  for (const page of [...pages, ...beyond]) {
    const [start, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES];
    const same = Buffer.from(path.destination.subarray(start, end)).equals(path.source.subarray(start, end));
    expect(same, `page ${page}`).toBe(true);
  }
  path.close();
});
