/**
 * DELTA at the destination: what changed in a page since its last version came, which is what memory holds of it. The
 * body is the encoding's length, u16, and XBZRLE.
 */

import { WireViolation } from '../migration/channel-receiver.ts';
import type { ReceivedMemory } from '../migration/received-memory.ts';
import { bodyEnd } from './page-body.ts';
import type { PageRestorer } from './page-restorer.ts';
import { applyXbzrle, xbzrleProblem } from './xbzrle.ts';

const LENGTH_BYTES = 2;

export class DeltaRestorer implements PageRestorer {
  readonly #received: ReceivedMemory;

  constructor(received: ReceivedMemory) {
    this.#received = received;
  }

  check(page: number, payload: Buffer, offset: number): number {
    const start = bodyEnd('length of the delta', page, payload, offset, LENGTH_BYTES);
    const end = bodyEnd('delta', page, payload, start, payload.readUInt16LE(offset));
    if (!this.#received.has(page)) {
      throw new WireViolation(`page ${page} comes as a delta, and no version of it has come before`);
    }
    const problem = xbzrleProblem(payload.subarray(start, end));
    if (problem !== undefined) throw new WireViolation(`the delta of page ${page} is wrong: ${problem}`);
    return end;
  }

  place(page: number, payload: Buffer, offset: number): number {
    const start = offset + LENGTH_BYTES;
    const end = start + payload.readUInt16LE(offset);
    applyXbzrle(payload.subarray(start, end), this.#received.open(page, 1));
    return end;
  }
}
