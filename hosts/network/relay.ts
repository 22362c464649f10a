/**
 * A host's NIC in user space: listens where others connect, leads each connection on, and shapes what passes
 * in between. It lives in the NIC's thread (relay-thread.ts), so that page data never waits for gRPC, nor
 * gRPC for it.
 */

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type LinkShape,
  type NetworkShape,
} from '../../proto/generated/godwit/v1/network.ts';
import { NO_FAULT, UNSHAPED_LINK } from '../../proto/network-shape.ts';
import { Random } from '../../workloads/random.ts';
import { Connection, type Target } from './connection.ts';
import { Direction } from './direction.ts';
import type { FlowOwner } from './flow.ts';
import { BATCH_MS, CONNECTIONS_MAX, EARLY_MS, PORTS_MAX } from './limits.ts';
import type { NicStats } from './relay-messages.ts';
import { Wakeup } from './wakeup.ts';

/** Only its own host reaches a dialled port. */
const OWN_ADDRESS = '127.0.0.1';

export class Relay implements FlowOwner {
  readonly #egress = new Direction('egress', () => this.now());
  readonly #ingress = new Direction('ingress', () => this.now());
  readonly #wakeup = new Wakeup(
    () => this.now(),
    () => this.changed(),
  );
  readonly #random: Random;
  readonly #servers = new Map<number, Server>();
  readonly #connections = new Set<Connection>();
  #fault: LinkFault = NO_FAULT;
  #faultTimer: NodeJS.Timeout | undefined;

  constructor(seed: number) {
    this.#random = new Random(BigInt(seed), 0);
  }

  setShape(shape: NetworkShape): void {
    const ofPeers = (name: 'egress' | 'ingress') =>
      new Map<string, LinkShape>(shape.peers.map((peer) => [peer.peer, peer[name] ?? UNSHAPED_LINK]));
    this.#egress.setShape(shape.egress ?? UNSHAPED_LINK, ofPeers('egress'));
    this.#ingress.setShape(shape.ingress ?? UNSHAPED_LINK, ofPeers('ingress'));
    this.changed();
  }

  /** Ends the fault before and begins this one; a reset is over at once. */
  setFault(fault: LinkFault): void {
    clearTimeout(this.#faultTimer);
    this.#fault = fault;
    if (fault.kind === LinkFaultKind.LINK_FAULT_KIND_STALL) {
      this.#faultTimer = setTimeout(() => this.setFault(NO_FAULT), fault.durationMs);
    }
    if (fault.kind === LinkFaultKind.LINK_FAULT_KIND_RESET) {
      for (const connection of [...this.#connections]) {
        if (this.#concerns(connection.peer)) connection.reset();
      }
    }
    this.opened();
    for (const connection of this.#connections) {
      if (!connection.isOpen) this.#open(connection);
    }
    this.changed();
  }

  /** What comes to the answered port passes the NIC inwards, to `localPort` of this host. */
  expose(localPort: number, listenAddress: string, peer: string): Promise<number> {
    return this.#listen(listenAddress, { host: OWN_ADDRESS, port: localPort }, peer, false);
  }

  /** What comes to the answered port of this host passes the NIC outwards, to the target. */
  dial(address: string, port: number, peer: string): Promise<number> {
    return this.#listen(OWN_ADDRESS, { host: address, port }, peer, true);
  }

  /** Listens no more; connections that stand go on. */
  release(port: number): void {
    const server = this.#servers.get(port);
    if (server === undefined) throw new Error(`port ${port} is none of this NIC's`);
    this.#servers.delete(port);
    server.close();
  }

  stats(): NicStats {
    let inFlightBytes = 0;
    for (const { flows } of [this.#egress, this.#ingress]) {
      for (const flow of flows) inFlightBytes += flow.inFlightBytes;
    }
    return {
      connections: this.#connections.size,
      egressBytes: this.#egress.deliveredBytes,
      ingressBytes: this.#ingress.deliveredBytes,
      inFlightBytes,
    };
  }

  /** Resets all connections; afterwards nothing keeps the thread alive. */
  close(): void {
    clearTimeout(this.#faultTimer);
    this.#wakeup.set(Number.POSITIVE_INFINITY);
    for (const server of this.#servers.values()) server.close();
    this.#servers.clear();
    for (const connection of [...this.#connections]) connection.reset();
  }

  now(): number {
    return performance.now();
  }

  jitter(): number {
    return this.#random.fraction() * 2 - 1;
  }

  slowCloseMs(peer: string): number {
    const { kind, durationMs } = this.#fault;
    const slow = kind === LinkFaultKind.LINK_FAULT_KIND_SLOW_CLOSE && this.#concerns(peer);
    return slow ? durationMs : 0;
  }

  /** Holds the flows that the fault holds, and lets go of the others. */
  opened(): void {
    for (const direction of [this.#egress, this.#ingress]) {
      for (const flow of direction.flows) {
        if (this.#isHeld(direction, flow.peer)) flow.freeze();
        else flow.thaw();
      }
    }
  }

  /** Moves what is due, and sets the time for what is due next. */
  changed(): void {
    const dueMs = this.now() + EARLY_MS;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const direction of [this.#egress, this.#ingress]) {
      direction.advance(dueMs);
      nextMs = Math.min(nextMs, direction.nextMs());
      for (const flow of direction.flows) {
        flow.deliver(dueMs);
        nextMs = Math.min(nextMs, flow.nextMs());
      }
    }
    this.#wakeup.set(Math.max(nextMs, dueMs + BATCH_MS));
  }

  #concerns(peer: string): boolean {
    return this.#fault.peer === '' || this.#fault.peer === peer;
  }

  #isHeld(direction: Direction, peer: string): boolean {
    if (!this.#concerns(peer)) return false;
    const { LINK_FAULT_KIND_CUT, LINK_FAULT_KIND_STALL, LINK_FAULT_KIND_HALF_OPEN } = LinkFaultKind;
    const { kind, direction: held } = this.#fault;
    if (kind === LINK_FAULT_KIND_CUT || kind === LINK_FAULT_KIND_STALL) return true;
    const outwards = held === LinkDirection.LINK_DIRECTION_EGRESS;
    return kind === LINK_FAULT_KIND_HALF_OPEN && direction.name === (outwards ? 'egress' : 'ingress');
  }

  async #listen(address: string, target: Target, peer: string, outwards: boolean): Promise<number> {
    if (this.#servers.size >= PORTS_MAX) {
      throw new Error(`the NIC listens on ${PORTS_MAX} ports already; release one`);
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(socket, target, peer, outwards),
    );
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port: 0 }, resolve);
    });
    const { port } = server.address() as AddressInfo;
    this.#servers.set(port, server);
    return port;
  }

  #accept(socket: Socket, target: Target, peer: string, outwards: boolean): void {
    if (this.#connections.size >= CONNECTIONS_MAX) {
      socket.resetAndDestroy();
      return;
    }
    const ways = outwards
      ? { forward: this.#egress, backward: this.#ingress }
      : { forward: this.#ingress, backward: this.#egress };
    const connection = new Connection(this, socket, target, peer, ways, () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    this.#open(connection);
  }

  /** TCP's handshake needs both directions: through a cut no connection comes to stand. */
  #open(connection: Connection): void {
    const { peer } = connection;
    const roundTripMs = this.#egress.budget(peer).delayMs + this.#ingress.budget(peer).delayMs;
    connection.openAfter(
      roundTripMs,
      () => !this.#isHeld(this.#egress, peer) && !this.#isHeld(this.#ingress, peer),
    );
  }
}
