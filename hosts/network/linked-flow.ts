/**
 * What a direction's links and the relay know of a flow: a file of its own, since both sides need it. Types
 * only.
 */

import type { PathBudget } from './path-budget.ts';
import type { Lane, Piece, RateStage } from './rate-stage.ts';

/** Bytes of a flow, or the end of its stream (no bytes). */
export interface FlowPiece extends Piece {
  readonly flow: LinkedFlow;
  readonly data: Buffer | undefined;
  readonly arrivedMs: number;
}

/** A flow's place in front of one link. */
export interface Place {
  readonly stage: RateStage<FlowPiece>;
  readonly lane: Lane<FlowPiece>;
}

/** A flow's places in front of the links, in the order in which it passes them. */
export type Route = readonly Place[];

export interface LinkedFlow {
  readonly peer: string;
  readonly route: Route;
  /** Read and not yet taken by the receiver's kernel. */
  readonly inFlightBytes: number;
  setBudget(budget: PathBudget): void;
  /** A piece has left the last link. */
  departed(piece: FlowPiece, departureMs: number): void;
  /** Writes what is due. */
  deliver(nowMs: number): void;
  /** When `deliver` next has something to do; Infinity when it has nothing. */
  nextMs(): number;
  /** Holds everything where it is. */
  freeze(): void;
  /** Goes on as if the time in between had not been. */
  thaw(): void;
}
