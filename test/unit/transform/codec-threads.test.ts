/**
 * Goal: codec threads change who compresses, and nothing else: batches leave in their order, and a thread that dies
 * costs time alone. Method: real threads, made to overtake each other and ended in mid-work.
 */

import { afterEach, expect, test } from 'vitest';
import { RunKind } from '../../../hosts/migration/wire.ts';
import { batchBuffer, MovePhase, PageBatch } from '../../../hosts/transform/page-batch.ts';
import type { PageEncoder } from '../../../hosts/transform/page-encoder.ts';
import { Compression } from '../../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';
import { PagePath } from '../../support/page-path.ts';

const LINK = { nowMs: 0, sentBytes: 0, writtenBytes: 0 };
const PAGE_COUNT = 256;

let path: PagePath | undefined;

afterEach(async () => {
  await path?.close();
});

/** A path whose threads have started; strong compression takes long enough to be overtaken. */
async function ready(compressionThreads: number): Promise<[PagePath, PageEncoder]> {
  const transforms = { compression: Compression.COMPRESSION_ZSTD, compressionLevel: 19, compressionThreads };
  path = await PagePath.make({ pageCount: PAGE_COUNT, transforms });
  const encoder = path.encoder as PageEncoder;
  for (;;) {
    const coded = encode(encoder, 1);
    await coded;
    if (coded instanceof Promise) return [path, encoder];
    await new Promise(setImmediate);
  }
}

/** A batch of pages that compress to a half. */
function encode(encoder: PageEncoder, pageCount: number): ReturnType<PageEncoder['encode']> {
  const bytes = batchBuffer();
  fillHalf(bytes);
  const runs = [{ firstPage: 0, pageCount, kind: RunKind.DATA }];
  return encoder.encode(new PageBatch(0, MovePhase.RUNNING, runs, bytes), LINK);
}

function fillHalf(memory: Uint8Array): void {
  let noise = 1;
  for (let byte = 0; byte < memory.byteLength; byte++) {
    noise = (Math.imul(noise, 1_664_525) + 1_013_904_223) >>> 0;
    memory[byte] = byte % PAGE_BYTES < PAGE_BYTES / 2 ? noise >>> 24 : 1;
  }
}

test('batches of a channel leave in their order, whichever is coded first', async () => {
  const [path] = await ready(2);
  fillHalf(path.source);
  // A batch of 64 pages takes long, one of a single page does not.
  const pages = [...Array(64).keys(), 70, ...Array.from({ length: 63 }, (_, index) => 128 + index), 200];
  await path.send(pages);
  const expected = Buffer.alloc(path.source.byteLength);
  for (const page of pages) {
    const [start, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES];
    expected.set(path.source.subarray(start, end), start);
  }
  expect(Buffer.compare(path.destination, expected)).toBe(0);
  expect(path.arrivals).toEqual(path.arrivals.toSorted((left, right) => left - right));
  expect(path.arrivals.length).toBeGreaterThan(1);
});

test('what a thread that died had been given is coded all the same', async () => {
  const [, encoder] = await ready(1);
  const here = encode(encoder, 64);
  const then = encode(encoder, 64);
  expect(here).toBeInstanceOf(Promise);
  await encoder.close();
  const [first, second] = await Promise.all([here, then]);
  expect(first.payload.byteLength).toBeLessThan(first.decodedBytes);
  expect(Buffer.compare(first.payload, second.payload)).toBe(0);
  expect(encoder.isFull).toBe(false);
  expect(encode(encoder, 64)).not.toBeInstanceOf(Promise);
});

test('threads that have enough to do are waited for', async () => {
  const [, encoder] = await ready(1);
  expect(encoder.isFull).toBe(false);
  const codings = [encode(encoder, 64), encode(encoder, 64)];
  expect(encoder.isFull).toBe(true);
  await encoder.room();
  expect(encoder.isFull).toBe(false);
  for (const coding of codings) await coding;
});
