/**
 * A batch: private copies of up to 64 pages of one channel on their way through the transforms, ascending. A stage
 * takes a page by giving another body for it; what nobody takes goes as it is. Private, since a stage must see one
 * version of a page while the guest goes on writing it.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { WIRE_LIMITS } from '../migration/limits.ts';
import { type PageRun, RunKind } from '../migration/wire.ts';

/** How a migration stands when a batch is made. */
export const MovePhase = {
  /** Rounds while the guest runs at the source. */
  RUNNING: 'running',
  /** The guest is paused: nothing may be asked back. */
  PAUSED: 'paused',
  /** The guest runs at the destination, and writes its pages there: a batch may refer to nothing but itself. */
  SWITCHED: 'switched',
} as const;
export type MovePhase = (typeof MovePhase)[keyof typeof MovePhase];

/** The kinds of runs that a stage may make of a page. */
export type BodyKind = typeof RunKind.COPY | typeof RunKind.DELTA | typeof RunKind.DIGEST;

export class PageBatch {
  readonly channel: number;
  readonly phase: MovePhase;
  /** Pages of zeroes that go with it, ascending. */
  readonly zeroRuns: readonly PageRun[];
  /** Where its contents are; later what is sent of them. */
  readonly bytes: Buffer;
  readonly #pages: readonly number[];
  readonly #bodies: ({ readonly kind: BodyKind; readonly body: Uint8Array } | undefined)[];

  /**
   * @param channel the index of the channel on which it is to go
   * @param runs of data and zeroes, ascending
   * @param bytes of the data runs' pages, in their order; from now on the batch's own
   */
  constructor(channel: number, phase: MovePhase, runs: readonly PageRun[], bytes: Buffer) {
    this.channel = channel;
    this.phase = phase;
    this.zeroRuns = runs.filter(({ kind }) => kind === RunKind.ZERO);
    this.#pages = runs.flatMap((run) => (run.kind === RunKind.DATA ? pagesOf(run) : []));
    this.bytes = bytes;
    this.#bodies = this.#pages.map(() => undefined);
  }

  /** How many pages have content. */
  get size(): number {
    return this.#pages.length;
  }

  /** The page's number. @param index from 0 to `size` */
  page(index: number): number {
    return this.#pages[index] as number;
  }

  /** The page's content, for as long as `claim` goes on; also of pages that were claimed. */
  content(index: number): Uint8Array {
    return this.bytes.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
  }

  /** What a stage has made of it; DATA while no stage has. */
  kind(index: number): RunKind {
    return this.#bodies[index]?.kind ?? RunKind.DATA;
  }

  /**
   * Sends this instead of the content.
   *
   * @param body as docs/wire.md has it for the kind, of less than a page; not to be changed afterwards
   */
  claim(index: number, kind: BodyKind, body: Uint8Array): void {
    if (body.byteLength >= PAGE_BYTES || this.kind(index) !== RunKind.DATA) {
      throw new Error(`page ${this.page(index)}: a body of ${body.byteLength} bytes, or its second one`);
    }
    this.#bodies[index] = { kind, body };
  }

  /** The bodies one after the other, in the batch's own memory. The contents are no more. */
  join(): Buffer {
    let end = 0;
    for (const [index, claimed] of this.#bodies.entries()) {
      const body = claimed?.body ?? this.content(index);
      // Never beyond its own page: no body is larger.
      if (end !== index * PAGE_BYTES || claimed !== undefined) this.bytes.set(body, end);
      end += body.byteLength;
    }
    return this.bytes.subarray(0, end);
  }

  /** The runs as they are to be announced, ascending. */
  runs(): PageRun[] {
    const runs: PageRun[] = [];
    let zero = 0;
    for (const [index, page] of this.#pages.entries()) {
      for (; (this.zeroRuns[zero]?.firstPage ?? Number.POSITIVE_INFINITY) < page; zero++) {
        runs.push(this.zeroRuns[zero] as PageRun);
      }
      const last = runs.at(-1);
      const kind = this.kind(index);
      if (last?.kind === kind && last.firstPage + last.pageCount === page) {
        runs[runs.length - 1] = { ...last, pageCount: last.pageCount + 1 };
      } else {
        runs.push({ firstPage: page, pageCount: 1, kind });
      }
    }
    return [...runs, ...this.zeroRuns.slice(zero)];
  }
}

/** Memory for a batch that workers can read. */
export function batchBuffer(): Buffer {
  return Buffer.from(new SharedArrayBuffer(WIRE_LIMITS.gatheredPagesMax * PAGE_BYTES));
}

function pagesOf({ firstPage, pageCount }: PageRun): number[] {
  return Array.from({ length: pageCount }, (_, index) => firstPage + index);
}
