/**
 * Goal: a CODED frame that is not what it says is refused, and nothing of it reaches the guest's memory. Method: frames
 * whose last part is wrong, and payloads damaged anywhere.
 */

import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { WireViolation } from '../../../hosts/migration/channel-receiver.ts';
import { ReceivedMemory } from '../../../hosts/migration/received-memory.ts';
import { type CodedFrame, type PageRun, RunKind, WireCodec } from '../../../hosts/migration/wire.ts';
import { codeWith } from '../../../hosts/transform/codecs/registry.ts';
import { PageDecoder } from '../../../hosts/transform/page-decoder.ts';
import type { PageRestorers } from '../../../hosts/transform/page-restorer.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { CODEC_LEVELS, CODEC_NAMES } from '../../../proto/transforms.ts';

const PAGE_COUNT = 16;
const DATA_AND_COPY: PageRun[] = [
  { firstPage: 2, pageCount: 1, kind: RunKind.DATA },
  { firstPage: 5, pageCount: 2, kind: RunKind.COPY },
];

let memory: SharedArrayBuffer;
let before: Buffer;

beforeEach(() => {
  memory = new SharedArrayBuffer(PAGE_COUNT * PAGE_BYTES);
  Buffer.from(memory).fill(3);
  before = Buffer.from(Buffer.from(memory));
});

const decoderWith = (restorers: PageRestorers): PageDecoder =>
  new PageDecoder(new ReceivedMemory(memory), restorers);

function frameOf(runs: readonly PageRun[], payload: Uint8Array): CodedFrame {
  const decodedBytes = payload.byteLength;
  return { type: 'CODED', codec: WireCodec.NONE, decodedBytes, runs, payloadBytes: decodedBytes };
}

describe('a frame is refused as a whole', () => {
  const payload = Buffer.alloc(PAGE_BYTES + 8, 9);
  /** Bodies of 4 bytes, as COPY has them. */
  const fourBytes = {
    check: (_page: number, _payload: Buffer, offset: number) => offset + 4,
    place: () => {
      throw new Error('placed');
    },
  };

  test.each<[string, PageRestorers, Buffer, string]>([
    ['of a kind that nobody asked for', {}, payload, 'kind 3, which nobody asked for'],
    [
      'when its last body is wrong',
      {
        [RunKind.COPY]: {
          ...fourBytes,
          check: (page, _, offset) => {
            if (page === 6) throw new WireViolation('a copy of a page that there is not');
            return offset + 4;
          },
        },
      },
      payload,
      'a copy of a page that there is not',
    ],
    [
      'when bodies go on behind its end',
      { [RunKind.COPY]: { ...fourBytes, check: (_page, _payload, offset) => offset + 5 } },
      payload,
      'end before page 6 does',
    ],
    [
      'when it ends before its last page',
      { [RunKind.COPY]: fourBytes },
      payload.subarray(0, -4),
      'before page 6',
    ],
    [
      'when something is left',
      { [RunKind.COPY]: fourBytes },
      Buffer.alloc(PAGE_BYTES + 9),
      'its runs end at 4104',
    ],
  ])('%s', (_, restorers, bytes, problem) => {
    const place = (): void => decoderWith(restorers).place(frameOf(DATA_AND_COPY, bytes), bytes);
    expect(place).toThrow(WireViolation);
    expect(place).toThrow(problem);
    expect(Buffer.from(memory).equals(before)).toBe(true);
  });
});

test.each(CODEC_NAMES)('what %s made is placed, and when it is damaged all of it or nothing', (name) => {
  const pages = Buffer.alloc(4 * PAGE_BYTES, 'godwit');
  const level = CODEC_LEVELS[name]?.default ?? 0;
  const coded = Buffer.from(codeWith({ codec: name, level }, pages).coded as Uint8Array);
  const codec = { fflate: 1, deflate: 1, zstd: 2, lz4: 3, snappy: 4 }[name] as WireCodec;
  const runs = [
    { firstPage: 1, pageCount: 1, kind: RunKind.ZERO },
    { firstPage: 2, pageCount: 4, kind: RunKind.DATA },
  ];
  const frame = { ...frameOf(runs, pages), codec, payloadBytes: coded.byteLength };
  fc.assert(
    fc.property(fc.nat(coded.byteLength - 1), fc.nat(255), (at, flip) => {
      const found = Buffer.from(memory);
      found.set(before);
      const payload = Buffer.from(coded);
      payload[at] = (payload[at] as number) ^ flip;
      let wasRefused = false;
      try {
        decoderWith({}).place(frame, payload);
      } catch (error) {
        expect(error).toBeInstanceOf(WireViolation);
        wasRefused = true;
      }
      if (wasRefused) expect(found.equals(before)).toBe(true);
      else expect(found.subarray(6 * PAGE_BYTES).equals(before.subarray(6 * PAGE_BYTES))).toBe(true);
      if (flip === 0) expect(found.subarray(2 * PAGE_BYTES, 6 * PAGE_BYTES).equals(pages)).toBe(true);
    }),
  );
});
