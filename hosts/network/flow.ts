/**
 * One direction of one connection through the relay: reads from a socket, passes its direction's links and
 * the delay behind them, and writes to the other socket. Whatever is read is written, once and in order; what
 * may be in here at a time is bounded, and beyond it the sender is left to wait.
 */

import type { Socket } from 'node:net';
import { DelayLine } from './delay-line.ts';
import type { Direction } from './direction.ts';
import { PASS_MS, PIECE_BYTES_MAX, REACH_BACK_MS_MAX } from './limits.ts';
import type { FlowPiece, LinkedFlow, Route } from './linked-flow.ts';
import type { PathBudget } from './path-budget.ts';
import { resetSocket } from './reset-socket.ts';

/** What the relay around it does for a flow. */
export interface FlowOwner {
  now(): number;
  /** Something new waits or is on its way: look when it is due. */
  changed(): void;
  /** A number from -1 to 1. */
  jitter(): number;
  slowCloseMs(peer: string): number;
  /** A connection has its flows. */
  opened(): void;
}

/** What comes after all bytes. */
const END = 'end';
/** What does not wait for bytes. */
const RESET = 'reset';

/** A read of this size found more than it could take: what Node reads at a time. */
const READ_BYTES = 64 * 1024;

export class Flow implements LinkedFlow {
  readonly peer: string;
  readonly direction: Direction;
  readonly route: Route;
  /** Read and not yet taken by the receiver's kernel. */
  inFlightBytes = 0;
  readonly #input: Socket;
  readonly #output: Socket;
  readonly #owner: FlowOwner;
  readonly #line = new DelayLine<Buffer | typeof END | typeof RESET>();
  #budget: PathBudget;
  /** Read and not yet through the links. */
  #queuedBytes = 0;
  /** Reading was stopped, and the link's time from which there was room again. */
  #held = false;
  #roomSinceMs: number | undefined;
  #frozenSinceMs: number | undefined;
  #resetWaits = false;
  #closed = false;

  constructor(owner: FlowOwner, direction: Direction, peer: string, input: Socket, output: Socket) {
    this.#owner = owner;
    this.direction = direction;
    this.peer = peer;
    this.#input = input;
    this.#output = output;
    this.#budget = direction.budget(peer);
    this.route = direction.open(this);
    input.on('data', (chunk: Buffer) => this.#arrived(chunk));
    input.on('end', () => this.#enqueue(undefined, 0, this.#owner.now(), this.#owner.now()));
  }

  setBudget(budget: PathBudget): void {
    this.#budget = budget;
    this.#readOn(this.#owner.now());
  }

  /** A piece has left the last link. */
  departed(piece: FlowPiece, departureMs: number): void {
    const { delayMs, jitterMs } = this.#budget;
    let dueMs = Math.max(departureMs, piece.arrivedMs) + Math.max(0, delayMs - PASS_MS);
    if (jitterMs > 0) dueMs += jitterMs * this.#owner.jitter();
    if (piece.data === undefined) dueMs += this.#owner.slowCloseMs(this.peer);
    this.#line.push(piece.data ?? END, dueMs);
    this.#queuedBytes -= piece.bytes;
    this.#readOn(departureMs);
  }

  /** Writes what is due. */
  deliver(nowMs: number): void {
    if (this.#frozenSinceMs !== undefined || this.#line.nextMs() > nowMs) return;
    this.#output.cork();
    for (;;) {
      const item = this.#line.shift(nowMs);
      if (item === undefined) break;
      if (item === END) this.#output.end();
      else if (item === RESET) resetSocket(this.#output);
      else this.#write(item);
    }
    this.#output.uncork();
  }

  /** When `deliver` next has something to do; Infinity when it has nothing. */
  nextMs(): number {
    return this.#frozenSinceMs === undefined ? this.#line.nextMs() : Number.POSITIVE_INFINITY;
  }

  /** Holds everything where it is. */
  freeze(): void {
    if (this.#frozenSinceMs !== undefined) return;
    const nowMs = this.#owner.now();
    this.#frozenSinceMs = nowMs;
    for (const { stage, lane } of this.route) stage.freeze(lane, nowMs);
  }

  /** Goes on as if the time in between had not been. */
  thaw(): void {
    if (this.#frozenSinceMs === undefined) return;
    const nowMs = this.#owner.now();
    for (const { stage, lane } of this.route) stage.thaw(lane, nowMs);
    this.#line.postpone(nowMs - this.#frozenSinceMs);
    this.#frozenSinceMs = undefined;
    if (this.#resetWaits) this.reset();
    this.#owner.changed();
  }

  /** The sender is gone: the receiver is told as soon as a packet could tell it. */
  reset(): void {
    if (this.#closed) return;
    this.#resetWaits = this.#frozenSinceMs !== undefined;
    if (this.#resetWaits) return;
    this.#line.push(RESET, this.#owner.now() + this.#budget.delayMs);
    this.#owner.changed();
  }

  /** Forgets everything that is in here. */
  close(): void {
    this.#closed = true;
    this.direction.close(this);
    this.#line.clear();
    this.#queuedBytes = 0;
    this.inFlightBytes = 0;
  }

  #arrived(chunk: Buffer): void {
    const nowMs = this.#owner.now();
    let readyMs = nowMs;
    // As long as reads are full, the bytes waited at the door since reading was stopped: the link could have
    // taken them as soon as there was room, however late this thread came.
    if (chunk.length < READ_BYTES) this.#roomSinceMs = undefined;
    else if (this.#roomSinceMs !== undefined) {
      readyMs = Math.min(nowMs, Math.max(this.#roomSinceMs, nowMs - REACH_BACK_MS_MAX));
    }
    this.inFlightBytes += chunk.length;
    this.#queuedBytes += chunk.length;
    const { pieceBytes } = this.#budget;
    for (let from = 0; from < chunk.length; from += pieceBytes) {
      const data = chunk.subarray(from, from + pieceBytes);
      this.#enqueue(data, data.length, readyMs, nowMs);
    }
    if (!this.#hasRoom()) {
      this.#held = true;
      this.#input.pause();
    }
    this.#owner.changed();
  }

  #enqueue(data: Buffer | undefined, bytes: number, readyMs: number, arrivedMs: number): void {
    if (this.#closed) return;
    const first = this.route[0]!;
    first.stage.enqueue(first.lane, { flow: this, data, bytes, readyMs, arrivedMs });
    if (data === undefined) this.#owner.changed();
  }

  #write(data: Buffer): void {
    this.#output.write(data, (error) => {
      if (this.#closed) return;
      this.inFlightBytes -= data.length;
      if (!error) this.direction.deliveredBytes += data.length;
      this.#readOn(this.#owner.now());
    });
  }

  /** A flow's share of the queue is never less than one read, or it could not go on at all. */
  #hasRoom(): boolean {
    const { queueBytes, inFlightBytes } = this.#budget;
    if (this.inFlightBytes >= inFlightBytes) return false;
    const shareBytes = queueBytes / Math.max(1, this.direction.busyCount);
    return this.#queuedBytes < Math.max(shareBytes, Math.min(queueBytes, PIECE_BYTES_MAX));
  }

  #readOn(sinceMs: number): void {
    if (!this.#held || this.#closed || !this.#hasRoom()) return;
    this.#held = false;
    this.#roomSinceMs = sinceMs;
    this.#input.resume();
  }
}
