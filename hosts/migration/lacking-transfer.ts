/**
 * After a lost link the destination of a post-copy says which pages it lacks: a bitmap in parts, since the
 * source reads tables only. What the source had sent and does not count any more goes again.
 */

import type { ChannelSender } from './channel-sender.ts';
import { WIRE_LIMITS } from './limits.ts';
import { PageSet } from './page-set.ts';
import type { Body } from './wire.ts';

/** Sends the whole bitmap of a set, part by part. */
export function sendLacking(sender: ChannelSender, lacking: PageSet): void {
  const { bitmap } = lacking;
  const { bitmapPartBytesMax } = WIRE_LIMITS;
  for (let offset = 0; offset < bitmap.byteLength; offset += bitmapPartBytesMax) {
    const part = bitmap.slice(offset, offset + bitmapPartBytesMax);
    sender.send('LACKING', { firstPage: offset * 8, bitmap: part });
  }
}

/** The source's end. */
export class LackingReceiver {
  readonly #missing: PageSet;
  readonly #bitmap: Uint8Array;
  #filledBytes = 0;

  /** @param missing what the destination can lack at most */
  constructor(missing: PageSet) {
    this.#missing = missing;
    this.#bitmap = new Uint8Array(missing.bitmap.byteLength);
  }

  /**
   * Takes the next part. Answers the set once the last one is here.
   *
   * @throws Error when it is not the next one, or says what cannot be
   */
  take({ firstPage, bitmap }: Body<'LACKING'>): PageSet | undefined {
    const end = this.#filledBytes + bitmap.byteLength;
    if (firstPage !== this.#filledBytes * 8 || bitmap.byteLength === 0 || end > this.#bitmap.byteLength) {
      throw new Error(
        `LACKING brings ${bitmap.byteLength} bytes from page ${firstPage}; that is not the next`,
      );
    }
    for (const [index, bits] of bitmap.entries()) {
      if ((bits & ~(this.#missing.bitmap[this.#filledBytes + index] as number)) === 0) continue;
      throw new Error('LACKING names a page that was not missing');
    }
    this.#bitmap.set(bitmap, this.#filledBytes);
    this.#filledBytes = end;
    return end < this.#bitmap.byteLength
      ? undefined
      : PageSet.fromBitmap(this.#missing.pageCount, this.#bitmap);
  }
}
