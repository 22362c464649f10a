/**
 * What the link gives the migration just now, and how long the way is: measured all the time from what the destination
 * says has arrived (ARRIVED), and not once per round. Pure; times are ms.
 *
 * - Bandwidth is the rate of delivery by the destination's clock (BBR; Cardwell et al., ACM Queue 2016), over a window
 *   that is short enough to follow a link that changes. Only times count in which bytes waited all the time: whoever
 *   sends less than the link carries learns from his own rate nothing about the link's.
 * - Queueing delay is how much longer than the shortest way bytes take (RFC 6817): clocks that differ do not matter.
 *
 * What was not measured is undefined, never 0.
 */

import type { NetworkEstimate } from '../../proto/generated/godwit/v1/migration.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { Body } from './wire.ts';

const MS_PER_S = 1000;

/** What was given to the sockets together. */
interface Flight {
  /** All bytes of the migration up to its beginning, and up to its end. */
  readonly startBytes: number;
  readonly endBytes: number;
  readonly atMs: number;
  /** So long a single frame takes to leave, where a bandwidth limit holds it back: it waits behind itself. */
  readonly frameMs: number;
}

/** A time between two words of the destination, by its clock. */
interface Interval {
  readonly toMs: number;
  readonly durationMs: number;
  readonly bytes: number;
  /** Whether bytes waited all the time. */
  readonly isBusy: boolean;
}

/** What arrived in a time. */
interface Slice {
  readonly bytes: number;
  readonly durationMs: number;
}

/** The shortest ways in a period. */
interface Shortest {
  oneWayMs: number;
  roundTripMs: number;
}

export class LinkEstimator {
  readonly estimates: NetworkEstimate[] = [];
  readonly #streamBytes: () => number;
  readonly #flights: Flight[] = [];
  #intervals: Interval[] = [];
  #receivedBytes = 0;
  #receivedAtMs: number | undefined;
  /** When the destination spoke last, whether bytes waited. */
  #wasBusy = false;
  /** Of this period and the one before: what is older counts no more, since ways change. */
  #shortest = noWay();
  #shortestBefore = noWay();
  #periodStartMs: number | undefined;
  #queueMs: number | undefined;
  #leastQueueMs: number | undefined;
  #roundTripMs: number | undefined;
  #bandwidthBytesPerS: number | undefined;
  #estimateIntervalMs: number = MOVER_LIMITS.estimateIntervalMs;
  #nextEstimateMs = 0;

  /** @param streamBytes all bytes so far that were given to the sockets whose arrival is told */
  constructor(streamBytes: () => number) {
    this.#streamBytes = streamBytes;
  }

  /** What the link gives this migration, bytes per second; undefined while nothing waited for it lately. */
  get bandwidthBytesPerS(): number | undefined {
    return this.#bandwidthBytesPerS;
  }

  /** The last way there and back, with whatever bytes waited for. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** The shortest way there and back of the last seconds. */
  get leastRoundTripMs(): number | undefined {
    return finite(Math.min(this.#shortest.roundTripMs, this.#shortestBefore.roundTripMs));
  }

  /** All bytes that have arrived, and when the last of them did by the destination's clock. */
  get received(): { readonly bytes: number; readonly atMs: number | undefined } {
    return { bytes: this.#receivedBytes, atMs: this.#receivedAtMs };
  }

  /** The least that bytes have waited since this was last asked; undefined when none has arrived. */
  takeQueueMs(): number | undefined {
    const queueMs = this.#leastQueueMs;
    this.#leastQueueMs = undefined;
    return queueMs;
  }

  /**
   * A frame was given to a socket, and is counted already.
   *
   * @param frameMs how long a frame takes under the bandwidth limit; 0 without one
   */
  sent(byteCount: number, nowMs: number, frameMs: number): void {
    const endBytes = this.#streamBytes();
    // Whoever says nothing of what arrives learns nothing, and does not fill this host's memory.
    if (this.#flights.length >= MOVER_LIMITS.linkFlightsMax) this.#flights.length = 0;
    this.#flights.push({ startBytes: endBytes - byteCount, endBytes, atMs: nowMs, frameMs });
  }

  /** The destination said what has arrived. Answers false when that cannot be. */
  arrived(word: Omit<Body<'ARRIVED'>, 'bytes'>, nowMs: number): boolean {
    const { receivedBytes, receivedAtMs, saidAtMs } = word;
    if (receivedBytes > this.#streamBytes() || receivedBytes < this.#receivedBytes) return false;
    if (receivedAtMs < (this.#receivedAtMs ?? 0) || saidAtMs < receivedAtMs) return false;
    const flight = this.#flightOf(receivedBytes);
    this.#measureWay(flight, receivedAtMs, nowMs - (saidAtMs - receivedAtMs), nowMs);
    const busyMs = MOVER_LIMITS.linkQueueMsMin + (flight?.frameMs ?? 0);
    const isBusy = flight !== undefined && this.#queueMs !== undefined && this.#queueMs >= busyMs;
    if (this.#receivedAtMs !== undefined && receivedAtMs > this.#receivedAtMs) {
      const durationMs = receivedAtMs - this.#receivedAtMs;
      const bytes = receivedBytes - this.#receivedBytes;
      this.#intervals.push({ toMs: receivedAtMs, durationMs, bytes, isBusy: isBusy && this.#wasBusy });
    }
    this.#wasBusy = isBusy;
    this.#receivedBytes = receivedBytes;
    this.#receivedAtMs = receivedAtMs;
    this.#measureRate(receivedAtMs);
    this.#note(nowMs);
    return true;
  }

  /** What this byte was sent with; undefined for frames of control, which are sent beside pages. */
  #flightOf(byte: number): Flight | undefined {
    let gone = 0;
    while (gone < this.#flights.length && (this.#flights[gone] as Flight).endBytes < byte) gone++;
    this.#flights.splice(0, gone);
    const flight = this.#flights[0];
    return flight !== undefined && flight.startBytes < byte ? flight : undefined;
  }

  #measureWay(flight: Flight | undefined, receivedAtMs: number, backAtMs: number, nowMs: number): void {
    if (flight === undefined) {
      this.#queueMs = undefined;
      return;
    }
    this.#periodStartMs ??= nowMs;
    if (nowMs - this.#periodStartMs >= MOVER_LIMITS.linkPeriodMs) {
      this.#shortestBefore = this.#shortest;
      this.#shortest = noWay();
      this.#periodStartMs = nowMs;
    }
    const oneWayMs = receivedAtMs - flight.atMs;
    this.#roundTripMs = Math.max(backAtMs - flight.atMs, 0);
    this.#shortest.oneWayMs = Math.min(this.#shortest.oneWayMs, oneWayMs);
    this.#shortest.roundTripMs = Math.min(this.#shortest.roundTripMs, this.#roundTripMs);
    this.#queueMs = oneWayMs - Math.min(this.#shortest.oneWayMs, this.#shortestBefore.oneWayMs);
    this.#leastQueueMs = Math.min(this.#leastQueueMs ?? Number.POSITIVE_INFINITY, this.#queueMs);
  }

  /** The median of slices in which bytes waited without a break: a thread that did not run spoils some of them. */
  #measureRate(newestMs: number): void {
    const { linkWindowMs, linkSliceMs } = MOVER_LIMITS;
    this.#intervals = this.#intervals.filter(({ toMs }) => toMs > newestMs - linkWindowMs);
    const slices: Slice[] = [];
    let slice = { bytes: 0, durationMs: 0 };
    for (const { isBusy, bytes, durationMs } of this.#intervals) {
      slice = isBusy
        ? { bytes: slice.bytes + bytes, durationMs: slice.durationMs + durationMs }
        : { bytes: 0, durationMs: 0 };
      if (slice.durationMs < linkSliceMs) continue;
      slices.push(slice);
      slice = { bytes: 0, durationMs: 0 };
    }
    this.#bandwidthBytesPerS = medianRate(slices);
  }

  /** Of a long migration the report has fewer estimates per second. */
  #note(nowMs: number): void {
    if (nowMs < this.#nextEstimateMs) return;
    if (this.estimates.length >= MOVER_LIMITS.estimatesMax) {
      const every = this.estimates.filter((_, index) => index % 2 === 0);
      this.estimates.splice(0, this.estimates.length, ...every);
      this.#estimateIntervalMs *= 2;
    }
    this.#nextEstimateMs = nowMs + this.#estimateIntervalMs;
    this.estimates.push({
      atMs: nowMs,
      bandwidthBytesPerS: this.#bandwidthBytesPerS,
      roundTripMs: this.#roundTripMs,
      leastRoundTripMs: this.leastRoundTripMs,
    });
  }
}

/** Of rates, each for as long as it lasted, bytes per second; undefined for none. */
function medianRate(slices: readonly Slice[]): number | undefined {
  const sorted = slices.toSorted((a, b) => a.bytes / a.durationMs - b.bytes / b.durationMs);
  let leftMs = sorted.reduce((sum, { durationMs }) => sum + durationMs, 0) / 2;
  const middle = sorted.find(({ durationMs }) => {
    leftMs -= durationMs;
    return leftMs <= 0;
  });
  return middle && (middle.bytes / middle.durationMs) * MS_PER_S;
}

function noWay(): Shortest {
  return { oneWayMs: Number.POSITIVE_INFINITY, roundTripMs: Number.POSITIVE_INFINITY };
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}
