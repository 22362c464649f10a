/**
 * One direction of a NIC: the link that all its flows share, and a link more for each peer that has a shape
 * of its own. On the way out a flow passes its peer's link first, on the way in the NIC's.
 */

import type { LinkShape } from '../../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK } from '../../proto/network-shape.ts';
import type { FlowPiece, LinkedFlow, Route } from './linked-flow.ts';
import { type PathBudget, pathBudget } from './path-budget.ts';
import { Lane, RateStage } from './rate-stage.ts';

export type DirectionName = 'egress' | 'ingress';

type Stage = RateStage<FlowPiece>;

export class Direction {
  readonly name: DirectionName;
  readonly flows = new Set<LinkedFlow>();
  /** Since the NIC stands. */
  deliveredBytes = 0;
  readonly #now: () => number;
  readonly #nic: Stage;
  readonly #peers = new Map<string, Stage>();
  #shape: LinkShape = UNSHAPED_LINK;
  #peerShapes: ReadonlyMap<string, LinkShape> = new Map();

  constructor(name: DirectionName, now: () => number) {
    this.name = name;
    this.#now = now;
    this.#nic = new RateStage((piece, departureMs) => this.#departed(this.#nic, piece, departureMs));
  }

  /** How many flows have bytes here: they divide the queue among them. */
  get busyCount(): number {
    let count = 0;
    for (const flow of this.flows) if (flow.inFlightBytes > 0) count++;
    return count;
  }

  /** Changes all links from now on; bytes that are on their way keep the delay that they were given. */
  setShape(shape: LinkShape, peerShapes: ReadonlyMap<string, LinkShape>): void {
    const nowMs = this.#now();
    this.#shape = shape;
    this.#peerShapes = peerShapes;
    for (const peer of peerShapes.keys()) this.#peerStage(peer);
    this.#nic.setRate(shape.rateBytesPerS, shape.burstBytes, nowMs, shape.fifo);
    for (const [peer, stage] of this.#peers) {
      const { rateBytesPerS, burstBytes, fifo } = peerShapes.get(peer) ?? UNSHAPED_LINK;
      stage.setRate(rateBytesPerS, burstBytes, nowMs, fifo);
    }
    for (const flow of this.flows) flow.setBudget(this.budget(flow.peer));
  }

  budget(peer: string): PathBudget {
    return pathBudget([this.#shape, this.#peerShapes.get(peer) ?? UNSHAPED_LINK]);
  }

  open(flow: LinkedFlow): Route {
    this.flows.add(flow);
    const stages = flow.peer === '' ? [this.#nic] : [this.#peerStage(flow.peer), this.#nic];
    if (this.name === 'ingress') stages.reverse();
    return stages.map((stage) => ({ stage, lane: new Lane<FlowPiece>() }));
  }

  close(flow: LinkedFlow): void {
    for (const { stage, lane } of flow.route) stage.drop(lane);
    this.flows.delete(flow);
  }

  /** Catches up with everything that has left the links until now. */
  advance(nowMs: number): void {
    if (this.name === 'ingress') this.#nic.advance(nowMs);
    for (const stage of this.#peers.values()) stage.advance(nowMs);
    if (this.name === 'egress') this.#nic.advance(nowMs);
  }

  nextMs(): number {
    let nextMs = this.#nic.nextMs();
    for (const stage of this.#peers.values()) nextMs = Math.min(nextMs, stage.nextMs());
    return nextMs;
  }

  #peerStage(peer: string): Stage {
    let stage = this.#peers.get(peer);
    if (stage === undefined) {
      const made: Stage = new RateStage((piece, departureMs) => this.#departed(made, piece, departureMs));
      const { rateBytesPerS, burstBytes, fifo } = this.#peerShapes.get(peer) ?? UNSHAPED_LINK;
      made.setRate(rateBytesPerS, burstBytes, this.#now(), fifo);
      this.#peers.set(peer, made);
      stage = made;
    }
    return stage;
  }

  /** Hands a piece to the next link, or to the delay behind the last one. */
  #departed(from: Stage, piece: FlowPiece, departureMs: number): void {
    const { route } = piece.flow;
    const next = route[route.findIndex(({ stage }) => stage === from) + 1];
    if (next === undefined) {
      piece.flow.departed(piece, departureMs);
      return;
    }
    piece.readyMs = departureMs;
    next.stage.enqueue(next.lane, piece);
  }
}
