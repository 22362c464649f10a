/**
 * What the destination says of what arrives (ARRIVED): soon after each byte, and of the first one after a silence at
 * once, since it waited for nothing. The source measures the link by it, and chooses codecs.
 */

import { nowMs } from '../clock.ts';
import { MOVER_LIMITS, WIRE_LIMITS } from './limits.ts';
import type { Body } from './wire.ts';

const { arrivedIntervalMs } = MOVER_LIMITS;

export class ArrivalWords {
  readonly #say: (word: Body<'ARRIVED'>) => void;
  #receivedBytes = 0;
  #receivedAtMs = 0;
  /** What has not been told of what was placed. */
  #placedBytes = 0;
  #saidAtMs = 0;
  #willSay = false;

  /** @param say tells the source, if it may be told now */
  constructor(say: (word: Body<'ARRIVED'>) => void) {
    this.#say = say;
  }

  /** All bytes that have come on the channels for pages. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  received(byteCount: number): void {
    this.#receivedBytes += byteCount;
    this.#receivedAtMs = nowMs();
    if (this.#receivedAtMs - this.#saidAtMs < arrivedIntervalMs) this.#saySoon();
    else if (!this.#willSay) this.#sayNow();
  }

  /** The payload of a frame of pages was placed. */
  placed(byteCount: number): void {
    this.#placedBytes += byteCount;
    this.#saySoon();
  }

  #saySoon(): void {
    if (this.#willSay) return;
    this.#willSay = true;
    setTimeout(() => {
      this.#willSay = false;
      this.#sayNow();
    }, arrivedIntervalMs);
  }

  #sayNow(): void {
    const bytes = Math.min(this.#placedBytes, WIRE_LIMITS.arrivedBytesMax);
    this.#placedBytes = 0;
    this.#saidAtMs = nowMs();
    const { receivedBytes } = this;
    this.#say({ bytes, receivedBytes, receivedAtMs: this.#receivedAtMs, saidAtMs: this.#saidAtMs });
  }
}
