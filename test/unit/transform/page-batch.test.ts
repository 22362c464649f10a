/** Goal: what stages make of a batch is announced and joined as it is, and stages are held to what a batch may be. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PageRun, RunKind } from '../../../hosts/migration/wire.ts';
import { type BodyKind, batchBuffer, MovePhase, PageBatch } from '../../../hosts/transform/page-batch.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';

const CLAIMS: readonly BodyKind[] = [RunKind.COPY, RunKind.DELTA, RunKind.DIGEST];

/** What becomes of each page of a batch, from page 0 on: left out, zero, data, or claimed with a body of some size. */
const fates = fc.array(
  fc.oneof(
    fc.constant('none' as const),
    fc.constant('zero' as const),
    fc.constant('data' as const),
    fc.record({ kind: fc.constantFrom(...CLAIMS), bodyBytes: fc.nat(PAGE_BYTES - 1) }),
  ),
  { minLength: 1, maxLength: 64 },
);

test('runs and bodies are those of its pages, in their order', () => {
  fc.assert(
    fc.property(fates, (list) => {
      const bytes = batchBuffer();
      const runs: PageRun[] = [];
      const expected: { page: number; kind: RunKind; body: Buffer }[] = [];
      let contents = 0;
      for (const [page, fate] of list.entries()) {
        if (fate === 'none') continue;
        const isZero = fate === 'zero';
        runs.push({ firstPage: page, pageCount: 1, kind: isZero ? RunKind.ZERO : RunKind.DATA });
        if (!isZero) bytes.fill(page + 1, contents * PAGE_BYTES, ++contents * PAGE_BYTES);
        if (fate === 'zero') expected.push({ page, kind: RunKind.ZERO, body: Buffer.alloc(0) });
        else if (fate === 'data')
          expected.push({ page, kind: RunKind.DATA, body: Buffer.alloc(PAGE_BYTES, page + 1) });
        else expected.push({ page, kind: fate.kind, body: Buffer.alloc(fate.bodyBytes, 200 + page) });
      }
      const batch = new PageBatch(0, MovePhase.RUNNING, runs, bytes);
      expect(batch.size).toBe(contents);
      for (let index = 0; index < batch.size; index++) {
        const page = batch.page(index);
        expect(batch.content(index)[7]).toBe(page + 1);
        const { kind, body } = expected.find((one) => one.page === page)!;
        if (kind !== RunKind.DATA) batch.claim(index, kind as BodyKind, body);
        expect(batch.kind(index)).toBe(kind);
      }
      const announced = batch.runs().flatMap(({ firstPage, pageCount, kind }) => {
        return Array.from({ length: pageCount }, (_, index) => ({ page: firstPage + index, kind }));
      });
      expect(announced).toEqual(expected.map(({ page, kind }) => ({ page, kind })));
      expect(batch.join().equals(Buffer.concat(expected.map(({ body }) => body)))).toBe(true);
    }),
  );
});

test('a page is claimed once, and by less than a page', () => {
  const runs = [{ firstPage: 4, pageCount: 2, kind: RunKind.DATA }];
  const batch = new PageBatch(0, MovePhase.RUNNING, runs, batchBuffer());
  expect(() => batch.claim(0, RunKind.DELTA, new Uint8Array(PAGE_BYTES))).toThrow(
    'page 4: a body of 4096 bytes',
  );
  batch.claim(0, RunKind.COPY, new Uint8Array(4));
  expect(() => batch.claim(0, RunKind.DELTA, new Uint8Array(4))).toThrow('or its second one');
});
