/**
 * A link of a certain rate, as arithmetic: which piece leaves it, and when. It has no timer and does no I/O,
 * so that a test can drive it with any clock.
 *
 * It works in the link's own time. A thread that wakes late must not make the link slow, so a piece's
 * departure follows from when it was ready and when the link was free, never from when somebody looked:
 * `advance` catches up with all that has happened until now. The link is a token bucket in the form of a
 * schedule (the virtual scheduling algorithm of ITU-T I.371, GCRA): `freeAt` may lag behind an idle link by
 * as much time as the burst takes, and no more.
 *
 * Flows share the link by deficit round robin (Shreedhar and Varghese, SIGCOMM 1995): each has a lane, and
 * the lanes take turns by bytes, so that a flow of small messages does not wait behind another's backlog. A link
 * that is first in, first out takes what was ready first, as the queue of a plain switch does.
 */

import { Fifo } from './fifo.ts';
import { PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECE_MS } from './limits.ts';

export interface Piece {
  readonly bytes: number;
  /** The moment from which the link may take it; at a second link, when it has left the first. */
  readyMs: number;
}

/** What one flow has waiting in front of a link. */
export class Lane<P extends Piece> {
  readonly pieces = new Fifo<P>();
  deficitBytes = 0;
  /** Nothing of it may pass now; see `RateStage.freeze`. */
  frozen = false;
}

/**
 * The pieces in which a link of this rate (0 is unlimited) takes its bytes: a power of two, so that reads
 * divide evenly.
 */
export function pieceBytesAt(rateBytesPerS: number): number {
  if (rateBytesPerS === 0) return PIECE_BYTES_MAX;
  const bytes = 2 ** Math.floor(Math.log2((rateBytesPerS / 1000) * PIECE_MS));
  return Math.min(PIECE_BYTES_MAX, Math.max(PIECE_BYTES_MIN, bytes));
}

export class RateStage<P extends Piece> {
  readonly #forward: (piece: P, departureMs: number) => void;
  #bytesPerMs = 0;
  #burstMs = 0;
  #quantumBytes = PIECE_BYTES_MAX;
  /** The lanes that have pieces. */
  #waiting: Lane<P>[] = [];
  #turn = 0;
  #isFifo = false;
  /** When the link has sent everything that it has taken; before the present by at most the burst's time. */
  #freeAtMs = Number.NEGATIVE_INFINITY;
  #inService: { readonly lane: Lane<P>; readonly piece: P } | undefined;

  /** @param forward takes each piece that has left the link, in the order of departure */
  constructor(forward: (piece: P, departureMs: number) => void) {
    this.#forward = forward;
  }

  /**
   * Changes the rate from now on: what was in service is taken at the old rate until now, and at the new one
   * afterwards.
   *
   * @param rateBytesPerS 0 for unlimited
   * @param burstBytes what an idle link lets through at once
   * @param isFifo whether flows wait behind each other
   */
  setRate(rateBytesPerS: number, burstBytes: number, nowMs: number, isFifo = false): void {
    this.advance(nowMs);
    this.#isFifo = isFifo;
    const before = this.#bytesPerMs;
    this.#bytesPerMs = rateBytesPerS / 1000;
    this.#quantumBytes = pieceBytesAt(rateBytesPerS);
    this.#burstMs = rateBytesPerS === 0 ? 0 : burstBytes / this.#bytesPerMs;
    const aheadMs = this.#freeAtMs - nowMs;
    if (aheadMs > 0) {
      this.#freeAtMs = nowMs + (rateBytesPerS === 0 ? 0 : (aheadMs * before) / this.#bytesPerMs);
    }
  }

  enqueue(lane: Lane<P>, piece: P): void {
    if (lane.pieces.length === 0) {
      this.#waiting.push(lane);
      lane.deficitBytes = this.#quantumBytes;
    }
    lane.pieces.push(piece);
  }

  /** Sends everything that has left the link until `nowMs` onwards. */
  advance(nowMs: number): void {
    for (;;) {
      const service = this.#inService ?? this.#begin(nowMs);
      this.#inService = service;
      if (service === undefined) return;
      const departureMs = Math.max(service.piece.readyMs, this.#freeAtMs);
      if (departureMs > nowMs) return;
      this.#inService = undefined;
      this.#forward(service.piece, departureMs);
    }
  }

  /** When `advance` next has something to do; Infinity when nothing waits. */
  nextMs(): number {
    if (this.#inService === undefined) return this.#earliestReadyMs();
    return Math.max(this.#inService.piece.readyMs, this.#freeAtMs);
  }

  /** Holds a lane: what the link is just sending of it goes back into the lane. */
  freeze(lane: Lane<P>, nowMs: number): void {
    lane.frozen = true;
    if (this.#inService?.lane !== lane) return;
    if (lane.pieces.length === 0) this.#waiting.push(lane);
    lane.pieces.unshift(this.#inService.piece);
    this.#inService = undefined;
    this.#freeAtMs = Math.min(this.#freeAtMs, nowMs);
  }

  /** Lets a lane go on. The time in which it was held is no credit. */
  thaw(lane: Lane<P>, nowMs: number): void {
    lane.frozen = false;
    for (const piece of lane.pieces) piece.readyMs = Math.max(piece.readyMs, nowMs);
  }

  /** Forgets what waits in a lane. */
  drop(lane: Lane<P>): void {
    lane.pieces.clear();
    this.#waiting = this.#waiting.filter((other) => other !== lane);
    if (this.#inService?.lane === lane) this.#inService = undefined;
  }

  #earliestReadyMs(): number {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#waiting) {
      if (!lane.frozen) earliestMs = Math.min(earliestMs, lane.pieces.peek()!.readyMs);
    }
    return earliestMs;
  }

  /** Takes the next piece into service, if there is one that was ready until now. */
  #begin(nowMs: number): { lane: Lane<P>; piece: P } | undefined {
    const earliestMs = this.#earliestReadyMs();
    if (earliestMs > nowMs) return undefined;
    const lane = this.#choose(Math.max(this.#freeAtMs, earliestMs));
    const piece = lane.pieces.shift()!;
    lane.deficitBytes -= piece.bytes;
    if (lane.pieces.length === 0) {
      this.#waiting = this.#waiting.filter((other) => other !== lane);
    }
    const fromMs = Math.max(this.#freeAtMs, piece.readyMs - this.#burstMs);
    this.#freeAtMs = fromMs + (this.#bytesPerMs === 0 ? 0 : piece.bytes / this.#bytesPerMs);
    return { lane, piece };
  }

  /** Whose turn it is at a moment at which at least one lane has a piece that is ready. */
  #choose(atMs: number): Lane<P> {
    if (this.#isFifo) return this.#first();
    for (;;) {
      if (this.#turn >= this.#waiting.length) this.#turn = 0;
      const lane = this.#waiting[this.#turn]!;
      const piece = lane.pieces.peek()!;
      if (!lane.frozen && piece.readyMs <= atMs) {
        if (lane.deficitBytes >= piece.bytes) return lane;
        lane.deficitBytes += this.#quantumBytes;
      }
      this.#turn++;
    }
  }

  /** The lane whose piece was ready first. */
  #first(): Lane<P> {
    const lanes = this.#waiting.filter(({ frozen }) => !frozen);
    return lanes.reduce((first, lane) =>
      lane.pieces.peek()!.readyMs < first.pieces.peek()!.readyMs ? lane : first,
    );
  }
}
