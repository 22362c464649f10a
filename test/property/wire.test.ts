/**
 * Goal: whatever bytes arrive, the decoder says what they are and never more than that. Method: streams of
 * arbitrary frames, cut at arbitrary places, whole or damaged by one bit, one length, one order.
 */

import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Decoded, FrameDecoder } from '../../hosts/migration/frame-decoder.ts';
import {
  type CodedFrame,
  encodeCoded,
  encodeControl,
  encodePages,
  type Frame,
  HEADER,
  HEADER_BYTES,
  type PageRun,
  RunKind,
  WireCodec,
} from '../../hosts/migration/wire.ts';
import { PAGE_BYTES } from '../../proto/page.ts';

const geometry = { pageCount: 1024, channel: 1, channelCount: 2 };

/** What a source may write on channel 1 of 2, with its payload. */
type Written = (sequence: number) => Uint8Array;

const withPayload = (head: Buffer, payloadBytes: number): Uint8Array =>
  Buffer.concat([head, Buffer.alloc(payloadBytes, 0xa5)]);

/** Runs in the stripes of channel 1: pages 256 to 511 and 768 to 1023. */
const run = fc
  .record({
    stripe: fc.constantFrom(256, 768),
    first: fc.integer({ min: 0, max: 247 }),
    pageCount: fc.integer({ min: 1, max: 8 }),
    kind: fc.constantFrom(RunKind.DATA, RunKind.ZERO),
  })
  .map(({ stripe, first, pageCount, kind }): PageRun => ({ firstPage: stripe + first, pageCount, kind }));

/** Those of them that ascend without an overlap. */
const ascending = (runs: readonly PageRun[]): PageRun[] => {
  const sorted = runs.toSorted((left, right) => left.firstPage - right.firstPage);
  let end = 0;
  return sorted.filter(({ firstPage, pageCount }) => {
    if (firstPage < end) return false;
    end = firstPage + pageCount;
    return true;
  });
};

const pagesFrame = fc.array(run, { minLength: 1, maxLength: 8 }).map((some): Written => {
  const runs = ascending(some);
  const dataPages = runs.reduce((sum, { kind, pageCount }) => sum + (kind === 1 ? pageCount : 0), 0);
  return (sequence) => withPayload(encodePages(runs, sequence), dataPages * PAGE_BYTES);
});
const controlFrame = fc.oneof(
  fc.nat().map(
    (round): Written =>
      (sequence) =>
        encodeControl('ROUND_END', { round }, sequence),
  ),
  fc
    .record({ vcpu: fc.nat(7), firstPage: fc.nat(1023), bytes: fc.nat(5000) })
    .map(({ vcpu, firstPage, bytes }): Written => {
      return (sequence) => withPayload(encodeControl('LEDGER', { vcpu, firstPage }, sequence, bytes), bytes);
    }),
  fc.string({ maxLength: 200 }).map(
    (reason): Written =>
      (sequence) =>
        encodeControl('FAILURE', { reason }, sequence),
  ),
);
/** Of all kinds; what its payload holds is no matter of the decoder's. */
const codedFrame = fc
  .record({
    runs: fc.array(fc.record({ run, kind: fc.constantFrom(...Object.values(RunKind)) }), {
      minLength: 1,
      maxLength: 8,
    }),
    codec: fc.constantFrom(...Object.values(WireCodec)),
    saved: fc.nat(1000),
  })
  .map(({ runs: some, codec, saved }): Written => {
    const runs = ascending(
      some.map(({ run: { firstPage, pageCount }, kind }) => ({ firstPage, pageCount, kind })),
    );
    const bodyBytes = { 1: PAGE_BYTES, 2: 0, 3: 4, 4: 100, 5: 16 };
    const decodedBytes = runs.reduce((sum, { kind, pageCount }) => sum + pageCount * bodyBytes[kind], 0);
    const isRaw = codec === WireCodec.NONE || decodedBytes === 0;
    const payloadBytes = isRaw ? decodedBytes : Math.max(decodedBytes - 1 - saved, 0);
    const frame = { runs, codec: isRaw ? WireCodec.NONE : codec, decodedBytes, payloadBytes };
    return (sequence) => withPayload(encodeCoded(frame, sequence), payloadBytes);
  });
const frames = fc.array(fc.oneof(controlFrame, pagesFrame, codedFrame), { minLength: 1, maxLength: 6 });

interface Reading {
  readonly frames: readonly Frame[];
  readonly payloads: readonly Uint8Array[];
  readonly last: Decoded;
}

/** Reads as a channel does: heads through the decoder's buffer, payloads to a place of their own. */
function read(decoder: FrameDecoder, chunks: readonly Uint8Array[]): Reading {
  const found: Frame[] = [];
  const payloads: Uint8Array[] = [];
  let last = { kind: 'need-more' } as Decoded;
  let payload = new Uint8Array(0);
  let missing = 0;
  const heads = (): void => {
    while (missing === 0) {
      last = decoder.next();
      if (last.kind !== 'frame') return;
      found.push(last.frame);
      payload = new Uint8Array(last.frame.payloadBytes);
      payloads.push(payload);
      missing = payload.byteLength - decoder.take(payload);
    }
  };
  for (const chunk of chunks) {
    let rest = chunk;
    while (rest.byteLength > 0 && last.kind !== 'malformed') {
      const place = missing > 0 ? payload.subarray(payload.byteLength - missing) : decoder.space();
      const count = Math.min(place.byteLength, rest.byteLength);
      place.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      if (missing > 0) missing -= count;
      else decoder.filled(count);
      heads();
    }
  }
  return { frames: found, payloads, last };
}

/** The head that a frame was read from. */
function headOf(frame: Frame, sequence: number): Buffer {
  if (frame.type === 'PAGES') return encodePages(frame.runs, sequence);
  if (frame.type === 'CODED') return encodeCoded(frame, sequence);
  return encodeControl(frame.type, frame.body as never, sequence, frame.payloadBytes);
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...places.map((place) => place % (bytes.byteLength + 1)), bytes.byteLength];
  sorted.sort((left, right) => left - right);
  let start = 0;
  return sorted.map((end) => {
    const chunk = bytes.subarray(start, end);
    start = end;
    return chunk;
  });
}

const fromSource = (): FrameDecoder => new FrameDecoder('source', geometry);

describe('a stream of frames', () => {
  test('is read back the same, wherever it was cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 40 }), (written, places) => {
        const parts = written.map((write, sequence) => write(sequence));
        const bytes = Buffer.concat(parts);
        const whole = read(fromSource(), [bytes]);
        const pieces = read(fromSource(), cut(bytes, places));
        expect(whole.last).toEqual({ kind: 'need-more' });
        expect(whole.frames).toHaveLength(parts.length);
        expect(pieces).toEqual(whole);
        const again = whole.frames.map((frame, sequence) => {
          const head = headOf(frame, sequence);
          return Buffer.concat([head, whole.payloads[sequence] as Uint8Array]);
        });
        expect(Buffer.concat(again).equals(bytes)).toBe(true);
      }),
    );
  });

  test('of one byte at a time gives every frame when its last head byte is there, and none before', () => {
    const head = encodeControl('ROUND_END', { round: 3 }, 0);
    const decoder = fromSource();
    for (let index = 0; index < head.byteLength - 1; index++) {
      expect(read(decoder, [head.subarray(index, index + 1)]).last).toEqual({ kind: 'need-more' });
    }
    expect(read(decoder, [head.subarray(-1)]).frames).toEqual([
      { type: 'ROUND_END', body: { round: 3 }, payloadBytes: 0 },
    ]);
  });

  test('with one flipped bit in a head never gives another frame', () => {
    fc.assert(
      fc.property(fc.oneof(controlFrame, pagesFrame), fc.nat(), (write, place) => {
        const bytes = Buffer.from(write(0));
        const headBytes = HEADER_BYTES + bytes.readUInt32LE(HEADER.tableBytes);
        const bit = place % (headBytes * 8);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(read(fromSource(), [bytes]).last.kind).toBe('malformed');
      }),
      { numRuns: 500 },
    );
  });

  test('of random bytes is malformed as soon as a header is there', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: 200 }), (bytes) => {
        expect(read(fromSource(), [bytes]).last.kind).toBe('malformed');
      }),
    );
  });

  test('that ends early needs more and gives only what was whole', () => {
    fc.assert(
      fc.property(frames, fc.nat(), (written, place) => {
        const bytes = Buffer.concat(written.map((write, sequence) => write(sequence)));
        const whole = read(fromSource(), [bytes]).frames;
        const { frames: found, last } = read(fromSource(), [bytes.subarray(0, place % bytes.byteLength)]);
        expect(found).toEqual(whole.slice(0, found.length));
        expect(last.kind).not.toBe('malformed');
      }),
    );
  });

  test('with a frame repeated, left out or exchanged is malformed', () => {
    fc.assert(
      fc.property(fc.array(controlFrame, { minLength: 3, maxLength: 3 }), (written) => {
        const [first, second, third] = written.map((write, sequence) => write(sequence));
        for (const order of [
          [first, first],
          [first, third],
          [second, first],
        ]) {
          const { last } = read(fromSource(), [Buffer.concat(order as Uint8Array[])]);
          expect(last.kind === 'malformed' && last.reason).toContain('sequence number');
        }
      }),
    );
  });

  test('that was malformed once stays so, whatever follows', () => {
    const decoder = fromSource();
    read(decoder, [encodeControl('ROUND_END', { round: 1 }, 7)]);
    expect(read(decoder, [encodeControl('ROUND_END', { round: 1 }, 0)]).last.kind).toBe('malformed');
  });
});

describe('a frame is malformed', () => {
  const lastOf = (head: Buffer, decoder = fromSource()): Decoded => read(decoder, [head]).last;
  /** A frame of PAGES as a liar would write it. */
  const pagesOf = (...runs: PageRun[]): Decoded => lastOf(encodePages(runs, 0));

  test('when it is of another version, which is named', () => {
    const head = encodeControl('COMMIT', {}, 0);
    head.writeUInt8(1, HEADER.version);
    expect(lastOf(head)).toEqual({
      kind: 'malformed',
      reason: 'the other side speaks version 1 of the wire protocol, this one 2',
    });
  });

  test.each([
    ['outside memory', { firstPage: 1020, pageCount: 5, kind: RunKind.DATA }],
    ['outside memory by far', { firstPage: 0xffffffff, pageCount: 0xffffff, kind: RunKind.ZERO }],
    ["in another channel's stripe", { firstPage: 255, pageCount: 1, kind: RunKind.DATA }],
    ['over two stripes', { firstPage: 511, pageCount: 2, kind: RunKind.DATA }],
    ['empty', { firstPage: 300, pageCount: 0, kind: RunKind.DATA }],
    ['of a kind that only CODED has', { firstPage: 300, pageCount: 1, kind: RunKind.COPY }],
  ])('when a run is %s', (_, bad) => {
    expect(pagesOf(bad).kind).toBe('malformed');
  });

  test('when its runs do not ascend without an overlap', () => {
    const runOf = (firstPage: number): PageRun => ({ firstPage, pageCount: 4, kind: RunKind.ZERO });
    expect(pagesOf(runOf(300), runOf(304)).kind).not.toBe('malformed');
    expect(pagesOf(runOf(300), runOf(303)).kind).toBe('malformed');
    expect(pagesOf(runOf(300), runOf(300)).kind).toBe('malformed');
    expect(pagesOf(runOf(304), runOf(300)).kind).toBe('malformed');
  });

  test('when more pages are gathered than allowed', () => {
    const runs = [256, 300].map((firstPage) => ({ firstPage, pageCount: 40, kind: RunKind.DATA }));
    expect(pagesOf(...runs).kind).toBe('malformed');
  });

  /** A frame of CODED as a liar would write it. */
  const codedOf = (changes: Partial<CodedFrame>): Decoded => {
    const runs = [{ firstPage: 300, pageCount: 2, kind: RunKind.DATA }];
    const sizes = { decodedBytes: 2 * PAGE_BYTES, payloadBytes: 100 };
    return lastOf(encodeCoded({ runs, codec: WireCodec.LZ4, ...sizes, ...changes }, 0));
  };
  const runOf = (kind: RunKind, pageCount = 2, firstPage = 300): PageRun => ({ firstPage, pageCount, kind });

  test.each<[string, Partial<CodedFrame>]>([
    ['of an unknown codec', { codec: 9 as WireCodec }],
    ['one byte larger, decompressed, than its runs can be', { decodedBytes: 2 * PAGE_BYTES + 1 }],
    ['smaller, decompressed, than its runs can be', { decodedBytes: 2 * PAGE_BYTES - 1 }],
    ['compressed to no less than it was', { payloadBytes: 2 * PAGE_BYTES }],
    ['not compressed and yet smaller', { codec: WireCodec.NONE }],
    ['more pages than are gathered', { runs: [runOf(RunKind.DATA, 65)], decodedBytes: 65 * PAGE_BYTES }],
    ['more copies than are gathered', { runs: [runOf(RunKind.COPY, 65)], decodedBytes: 65 * 4 }],
    [
      'a copy without the page that it is of',
      { runs: [runOf(RunKind.COPY)], decodedBytes: 7, payloadBytes: 6 },
    ],
    ['a delta of more than a page', { runs: [runOf(RunKind.DELTA)], decodedBytes: 2 * PAGE_BYTES + 1 }],
    ['of an unknown kind', { runs: [runOf(6 as RunKind)] }],
    ['outside memory', { runs: [runOf(RunKind.DATA, 2, 1023)] }],
    ["in another channel's stripe", { runs: [runOf(RunKind.DATA, 2, 10)] }],
    [
      'two versions of a page',
      { runs: [runOf(RunKind.DATA), runOf(RunKind.DATA)], decodedBytes: 4 * PAGE_BYTES },
    ],
    ['nothing', { runs: [] }],
  ])('when CODED brings %s', (_, changes) => {
    expect(codedOf({}).kind).toBe('frame');
    expect(codedOf(changes).kind).toBe('malformed');
  });

  test('when a reserved field of CODED is not zero, or its head is cut off', () => {
    const frame = { runs: [runOf(RunKind.ZERO)], codec: WireCodec.NONE, decodedBytes: 0, payloadBytes: 0 };
    const good = encodeCoded(frame, 0);
    expect(lastOf(good).kind).not.toBe('malformed');
    const table = good.subarray(HEADER_BYTES);
    for (const bad of [Buffer.from(table).fill(1, 2, 3), table.subarray(0, 7), table.subarray(0, 8)]) {
      const head = Buffer.concat([good.subarray(0, HEADER_BYTES), bad]);
      head.writeUInt32LE(bad.byteLength, HEADER.tableBytes);
      head.writeUInt32LE(crc32(bad), HEADER.tableChecksum);
      head.writeUInt32LE(crc32(head.subarray(0, HEADER.checksum)), HEADER.checksum);
      expect(lastOf(head).kind).toBe('malformed');
    }
  });

  test('when a length is over its limit, before anything behind the header is there', () => {
    for (const field of [HEADER.tableBytes, HEADER.payloadBytes]) {
      const head = encodeControl('LEDGER', { vcpu: 0, firstPage: 0 }, 0, 4);
      head.writeUInt32LE(2 ** 31, field);
      head.writeUInt32LE(crc32(head.subarray(0, HEADER.checksum)), HEADER.checksum);
      expect(lastOf(head.subarray(0, HEADER_BYTES)).kind).toBe('malformed');
    }
  });

  test('when pages come from the destination, or control that only the other side may send', () => {
    const pages = encodePages([{ firstPage: 300, pageCount: 1, kind: RunKind.DATA }], 0);
    expect(lastOf(pages, new FrameDecoder('destination')).kind).toBe('malformed');
    expect(lastOf(encodeControl('COMMIT', {}, 0), new FrameDecoder('destination')).kind).toBe('malformed');
    expect(lastOf(encodeControl('READY', { installedAtMs: 1 }, 0)).kind).toBe('malformed');
  });

  test('when a field is missing, of another kind, out of its limits or unknown', () => {
    const bodies = [
      {},
      { round: 'x' },
      { round: -1 },
      { round: 1.5 },
      { round: 2 ** 32 },
      { round: 1, more: 1 },
    ];
    for (const body of bodies) {
      expect(lastOf(encodeControl('ROUND_END', body as never, 0)).kind).toBe('malformed');
    }
  });
});
