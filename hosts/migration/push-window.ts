/**
 * How much of the push may be on its way at once. A demanded page has to wait behind what is queued between the
 * hosts, in sockets, in the link's queue and in the destination's thread, on a connection of its own as well: so
 * the push keeps those queues short. It goes on as the destination tells what it has placed, and lets as much be
 * on its way as keeps the link busy: some of the product of its rate and its round trip, both as they are measured
 * (BBR; Cardwell et al., ACM Queue 2016). Pure; times are ms of one clock.
 */

import { MOVER_LIMITS } from './limits.ts';

/** Two would do on a link; threads that do not get to run at once need as much again. */
const PRODUCTS_ON_THEIR_WAY = 4;
const { pushWindowBytesMin, pushWindowBytesMax, pushWindowPeriodMs, pushRateMsMin } = MOVER_LIMITS;

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
    return Math.min(Math.max(bytes, pushWindowBytesMin), pushWindowBytesMax);
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
