/**
 * One TCP connection through the relay: the accepted socket, the one that leads on, and a flow for each
 * direction between them. An end of stream passes after the bytes before it, a reset as soon as a packet
 * could carry it.
 */

import { connect, type Socket } from 'node:net';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { Direction } from './direction.ts';
import { Flow, type FlowOwner } from './flow.ts';
import { resetSocket } from './reset-socket.ts';

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** The NIC's directions as a connection sees them. */
export interface Ways {
  /** From the accepted socket to the target, and back. */
  readonly forward: Direction;
  readonly backward: Direction;
}

export class Connection {
  readonly peer: string;
  readonly #owner: FlowOwner;
  readonly #accepted: Socket;
  readonly #target: Target;
  readonly #ways: Ways;
  readonly #onClosed: () => void;
  #led: Socket | undefined;
  #flows: Flow[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    owner: FlowOwner,
    accepted: Socket,
    target: Target,
    peer: string,
    ways: Ways,
    onClosed: () => void,
  ) {
    this.#owner = owner;
    this.#accepted = accepted;
    this.#target = target;
    this.peer = peer;
    this.#ways = ways;
    this.#onClosed = onClosed;
    // Until the flows stand it is not read, so nothing is lost; but it may fail.
    accepted.on('error', () => this.#failed(accepted));
    accepted.on('close', () => this.#socketClosed());
  }

  get isOpen(): boolean {
    return this.#led !== undefined;
  }

  /** Opens the way to the target when the packets of TCP's handshake would have gone there and back. */
  openAfter(roundTripMs: number, mayOpen: () => boolean): void {
    if (roundTripMs === 0) {
      if (mayOpen()) this.open();
      return;
    }
    this.#timer = setTimeout(() => {
      if (mayOpen()) this.open();
    }, roundTripMs);
  }

  /** Opens the way to the target, if it was not opened before. */
  open(): void {
    if (this.isOpen || this.#accepted.destroyed) return;
    clearTimeout(this.#timer);
    const led = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    this.#led = led;
    led.on('error', () => this.#failed(led));
    led.on('close', () => this.#socketClosed());
    this.#timer = setTimeout(() => led.destroy(new Error('no answer')), DEADLINES_MS.dataConnect);
    led.once('connect', () => {
      clearTimeout(this.#timer);
      const { forward, backward } = this.#ways;
      this.#flows = [
        new Flow(this.#owner, forward, this.peer, this.#accepted, led),
        new Flow(this.#owner, backward, this.peer, led, this.#accepted),
      ];
      this.#owner.opened();
    });
  }

  /** Resets both sides now. */
  reset(): void {
    resetSocket(this.#accepted);
    if (this.#led !== undefined) resetSocket(this.#led);
    this.#socketClosed();
  }

  /** A socket is gone: the flow that read from it says so at its other end. */
  #failed(socket: Socket): void {
    const other = socket === this.#accepted ? this.#led : this.#accepted;
    const flow = this.#flows[socket === this.#accepted ? 0 : 1];
    if (flow === undefined && other !== undefined) resetSocket(other);
    flow?.reset();
  }

  #socketClosed(): void {
    if (!this.#accepted.destroyed || this.#led?.destroyed === false) return;
    clearTimeout(this.#timer);
    for (const flow of this.#flows) flow.close();
    this.#flows = [];
    this.#onClosed();
  }
}
