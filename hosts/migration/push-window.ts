/**
 * How much of the push may be on its way at once. It goes on as the destination tells what it has placed, and lets as
 * much be on its way as keeps the link busy: twice the product of its rate and its round trip, both as they are
 * measured (BBR; Cardwell et al., ACM Queue 2016), or, where that is little, as much as threads need that do not get to
 * run at once.
 *
 * How much that is, is told by the demanded pages: on a connection of their own they wait with the push in the link's
 * queue and nowhere else. Where there is such a queue, less is pushed at once (after LEDBAT, RFC 6817). Pure; times are
 * ms of one clock.
 */

import { MOVER_LIMITS } from './limits.ts';

const PRODUCTS_ON_THEIR_WAY = 2;
/** A thread that had to wait makes one of these long, a queue all of them. */
const WAITS = 8;
const { pushWindowBytesMin, pushSpareBytesMax, pushQueueMsMax } = MOVER_LIMITS;
const { pushWindowBytesMax, pushWindowPeriodMs, pushRateMsMin } = MOVER_LIMITS;

/** Something that was sent, for as long as it has not been placed. */
interface Flight {
  /** What had been sent with it. */
  readonly sentBytes: number;
  readonly atMs: number;
}

/** The best that was measured in a time. */
interface Best {
  bytesPerMs: number;
  roundTripMs: number;
}

export class PushWindow {
  #sentBytes = 0;
  #placedBytes = 0;
  readonly #flights: Flight[] = [];
  /** Now, and in the period before. */
  #best = noneYet();
  #earlier = noneYet();
  #periodStartMs = 0;
  /** Since when, and from how much on, the rate is measured. */
  #rateFrom = { atMs: 0, placedBytes: 0 };
  /** Until this has been placed, little is sent: the round trip is measured without a queue of our own. */
  #drainUntilBytes = 0;

  /** What may be on its way however little the link needs. */
  #spareBytes: number = pushSpareBytesMax;
  /** Of the demanded pages: the shortest wait of all, and of the last ones. */
  #leastWaitMs = Number.POSITIVE_INFINITY;
  #lastWaitMs = Number.POSITIVE_INFINITY;
  #waits = 0;

  /** Whether to wait until more has been placed. */
  get isFull(): boolean {
    return this.#sentBytes - this.#placedBytes >= this.limitBytes;
  }

  sent(bytes: number, nowMs: number): void {
    if (bytes === 0) return;
    this.#sentBytes += bytes;
    this.#flights.push({ sentBytes: this.#sentBytes, atMs: nowMs });
  }

  /** The destination has placed so much more. Answers false when that is more than was sent. */
  placed(bytes: number, nowMs: number): boolean {
    this.#placedBytes += bytes;
    if (this.#placedBytes > this.#sentBytes) return false;
    if (nowMs - this.#periodStartMs >= pushWindowPeriodMs) this.#beginPeriod(nowMs);
    for (let flight = this.#flights[0]; flight !== undefined; flight = this.#flights[0]) {
      if (flight.sentBytes > this.#placedBytes) break;
      this.#flights.shift();
      this.#best.roundTripMs = Math.min(this.#best.roundTripMs, nowMs - flight.atMs);
    }
    const { atMs, placedBytes } = this.#rateFrom;
    if (nowMs - atMs >= pushRateMsMin) {
      const bytesPerMs = (this.#placedBytes - placedBytes) / (nowMs - atMs);
      this.#best.bytesPerMs = Math.max(this.#best.bytesPerMs, bytesPerMs);
      this.#rateFrom = { atMs: nowMs, placedBytes: this.#placedBytes };
    }
    return true;
  }

  /** How much may be on its way. */
  get limitBytes(): number {
    if (this.#placedBytes < this.#drainUntilBytes) return pushWindowBytesMin;
    const bytesPerMs = Math.max(this.#best.bytesPerMs, this.#earlier.bytesPerMs);
    const roundTripMs = Math.min(this.#best.roundTripMs, this.#earlier.roundTripMs);
    const bytes = bytesPerMs === 0 ? 0 : PRODUCTS_ON_THEIR_WAY * bytesPerMs * roundTripMs;
    return Math.min(Math.max(bytes, this.#spareBytes), pushWindowBytesMax);
  }

  /** A demanded page, which does not wait in the push's connection, was placed so long after it had been sent. */
  waited(durationMs: number): void {
    this.#leastWaitMs = Math.min(this.#leastWaitMs, durationMs);
    this.#lastWaitMs = Math.min(this.#lastWaitMs, durationMs);
    this.#waits++;
    if (this.#waits < WAITS) return;
    const isQueued = this.#lastWaitMs - this.#leastWaitMs > pushQueueMsMax;
    const bytes = this.#spareBytes * (isQueued ? 1 / 2 : 3 / 2);
    this.#spareBytes = Math.min(Math.max(bytes, pushWindowBytesMin), pushSpareBytesMax);
    this.#waits = 0;
    this.#lastWaitMs = Number.POSITIVE_INFINITY;
  }

  #beginPeriod(nowMs: number): void {
    this.#earlier = this.#best;
    this.#best = noneYet();
    this.#periodStartMs = nowMs;
    this.#drainUntilBytes = this.#sentBytes + pushWindowBytesMin;
  }
}

function noneYet(): Best {
  return { bytesPerMs: 0, roundTripMs: Number.POSITIVE_INFINITY };
}
