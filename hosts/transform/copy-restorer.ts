/** COPY at the destination: a page that is to be as another one is now. The body is the other page's number, u32. */

import { WireViolation } from '../migration/channel-receiver.ts';
import type { ReceivedMemory } from '../migration/received-memory.ts';
import { bodyEnd } from './page-body.ts';
import type { PageRestorer } from './page-restorer.ts';

const REFERENCE_BYTES = 4;

export class CopyRestorer implements PageRestorer {
  readonly #received: ReceivedMemory;

  constructor(received: ReceivedMemory) {
    this.#received = received;
  }

  check(page: number, payload: Buffer, offset: number): number {
    const end = bodyEnd('copy', page, payload, offset, REFERENCE_BYTES);
    const twin = payload.readUInt32LE(offset);
    // One before it may come with this very frame: whether it has is seen when this page's turn comes.
    if (twin >= page && !this.#received.has(twin)) throw neverCame(page, twin);
    return end;
  }

  place(page: number, payload: Buffer, offset: number): number {
    const twin = payload.readUInt32LE(offset);
    if (!this.#received.has(twin)) throw neverCame(page, twin);
    this.#received.open(page, 1).set(this.#received.pages(twin, 1));
    return offset + REFERENCE_BYTES;
  }
}

function neverCame(page: number, twin: number): WireViolation {
  return new WireViolation(`page ${page} is to be a copy of page ${twin}, which has not come`);
}
