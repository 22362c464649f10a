/**
 * The ledger's way: when the guest runs at the destination, the source sends the versions that every lane
 * had, so that an audit there can tell what memory must hold. It is the proof, not the migration: outside the
 * downtime and the counted bytes.
 */

import { WireViolation } from './channel-receiver.ts';
import type { ChannelSender } from './channel-sender.ts';
import { WIRE_LIMITS } from './limits.ts';
import type { Body } from './wire.ts';

const VERSION_BYTES = Uint32Array.BYTES_PER_ELEMENT;
const VERSIONS_MAX = WIRE_LIMITS.ledgerPayloadBytesMax / VERSION_BYTES;

/** Sends a whole ledger (hosts/guest/ledger.ts), vCPU by vCPU. */
export async function sendLedger(
  sender: ChannelSender,
  ledger: Uint32Array<ArrayBuffer>,
  pageCount: number,
): Promise<void> {
  for (let vcpu = 0; vcpu * pageCount < ledger.length; vcpu++) {
    for (let firstPage = 0; firstPage < pageCount; firstPage += VERSIONS_MAX) {
      const count = Math.min(VERSIONS_MAX, pageCount - firstPage);
      const offset = ledger.byteOffset + (vcpu * pageCount + firstPage) * VERSION_BYTES;
      sender.send(
        'LEDGER',
        { vcpu, firstPage },
        new Uint8Array(ledger.buffer, offset, count * VERSION_BYTES),
      );
      if (sender.isFull) await sender.room();
    }
  }
  sender.send('LEDGER_END', {});
}

/** The destination's end: each part goes to its place in the base ledger, in order and without a gap. */
export class LedgerReceiver {
  readonly #base: Uint8Array;
  readonly #pageCount: number;
  #filledBytes = 0;

  /** @param base SharedGuest.base */
  constructor(base: SharedArrayBuffer, pageCount: number) {
    this.#base = new Uint8Array(base);
    this.#pageCount = pageCount;
  }

  /** Whether anything of it is here, or on its way to its place. */
  get hasBegun(): boolean {
    return this.#filledBytes > 0;
  }

  /** Whether every version has its place. */
  get isComplete(): boolean {
    return this.#filledBytes === this.#base.byteLength;
  }

  /** Where a part belongs. Throws WireViolation when it is not the next one, or too long. */
  place({ vcpu, firstPage }: Body<'LEDGER'>, payloadBytes: number): Uint8Array {
    const start = (vcpu * this.#pageCount + firstPage) * VERSION_BYTES;
    const end = start + payloadBytes;
    if (start !== this.#filledBytes || end > this.#base.byteLength || payloadBytes % VERSION_BYTES !== 0) {
      throw new WireViolation(
        `LEDGER brings ${payloadBytes} bytes for vCPU ${vcpu} from page ${firstPage}; expected are at most ` +
          `${this.#base.byteLength - this.#filledBytes} bytes after the first ${this.#filledBytes}`,
      );
    }
    this.#filledBytes = end;
    return this.#base.subarray(start, end);
  }
}
