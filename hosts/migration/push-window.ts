/**
 * How much of the push may be on its way at once. A demanded page has to wait behind what is queued between the
 * hosts, in sockets, in the link's queue and in the destination's thread, on a connection of its own as well: so
 * the push keeps those queues short. It goes on as the destination tells what it has placed, and lets as much be
 * on its way as keeps the link busy: twice the product of its rate and its round trip, both as they are measured
 * (BBR; Cardwell et al., ACM Queue 2016). Pure; times are ms of one clock.
 */

import { MOVER_LIMITS } from './limits.ts';

const { pushWindowBytesMin, pushWindowBytesMax, pushWindowPeriodMs } = MOVER_LIMITS;

/** Something that was sent, for as long as it has not been placed. */
interface Flight {
  /** What had been sent with it, and what had been placed when it was. */
  readonly sentBytes: number;
  readonly placedBytesThen: number;
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
  /** Until this has been placed, little is sent: the round trip is measured without a queue of our own. */
  #drainUntilBytes = 0;

  /** Whether to wait until more has been placed. */
  get isFull(): boolean {
    return this.#sentBytes - this.#placedBytes >= this.#limitBytes;
  }

  sent(bytes: number, nowMs: number): void {
    if (bytes === 0) return;
    this.#sentBytes += bytes;
    this.#flights.push({ sentBytes: this.#sentBytes, placedBytesThen: this.#placedBytes, atMs: nowMs });
  }

  /** The destination has placed so much more. Answers false when that is more than was sent. */
  placed(bytes: number, nowMs: number): boolean {
    this.#placedBytes += bytes;
    if (this.#placedBytes > this.#sentBytes) return false;
    if (nowMs - this.#periodStartMs >= pushWindowPeriodMs) this.#beginPeriod(nowMs);
    for (let flight = this.#flights[0]; flight !== undefined; flight = this.#flights[0]) {
      if (flight.sentBytes > this.#placedBytes) break;
      this.#flights.shift();
      const roundTripMs = nowMs - flight.atMs;
      if (roundTripMs <= 0) continue;
      const bytesPerMs = (this.#placedBytes - flight.placedBytesThen) / roundTripMs;
      this.#best.roundTripMs = Math.min(this.#best.roundTripMs, roundTripMs);
      this.#best.bytesPerMs = Math.max(this.#best.bytesPerMs, bytesPerMs);
    }
    return true;
  }

  get #limitBytes(): number {
    if (this.#placedBytes < this.#drainUntilBytes) return pushWindowBytesMin;
    const bytesPerMs = Math.max(this.#best.bytesPerMs, this.#earlier.bytesPerMs);
    const roundTripMs = Math.min(this.#best.roundTripMs, this.#earlier.roundTripMs);
    const bytes = bytesPerMs === 0 ? 0 : 2 * bytesPerMs * roundTripMs;
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
