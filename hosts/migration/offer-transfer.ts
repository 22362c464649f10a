/**
 * The source's end of an OFFER: the hashes of what the destination holds of other guests, taken down in a set. They are
 * hints: what is past or made up costs a page that is sent after all.
 */

import { SentContents } from '../transform/sent-contents.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { Body } from './wire.ts';

const HASH_BYTES = 8;

export class OfferReceiver {
  /** Of SentContents. */
  readonly offered = SentContents.allocate(MOVER_LIMITS.offeredPagesMax);
  readonly #contents = new SentContents(this.offered);
  #count = 0;

  /** Takes a part down. Answers what is wrong with it, if anything is. */
  take({ hashes }: Body<'OFFER'>): string | undefined {
    const count = hashes.byteLength / HASH_BYTES;
    if (!Number.isInteger(count)) {
      return `OFFER brings ${hashes.byteLength} bytes, which are no hashes of ${HASH_BYTES}`;
    }
    this.#count += count;
    const { offeredPagesMax } = MOVER_LIMITS;
    if (this.#count > offeredPagesMax) return `OFFER brings more than ${offeredPagesMax} contents`;
    const view = new DataView(hashes.buffer, hashes.byteOffset, hashes.byteLength);
    for (let offset = 0; offset < hashes.byteLength; offset += HASH_BYTES) {
      this.#contents.add({ low: view.getUint32(offset, true), high: view.getUint32(offset + 4, true) });
    }
    return undefined;
  }
}
