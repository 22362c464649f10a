/**
 * What the links that a flow passes mean for it together: its delay, and how many of its bytes may be in the
 * relay.
 */

import type { LinkShape } from '../../proto/generated/godwit/v1/network.ts';
import { PIECE_BYTES_MAX, QUEUE_BYTES_MIN, QUEUE_MS, UNLIMITED_FLIGHT_BYTES } from './limits.ts';
import { pieceBytesAt } from './rate-stage.ts';

export interface PathBudget {
  readonly delayMs: number;
  readonly jitterMs: number;
  /** The slowest link's rate; 0 for unlimited. */
  readonly rateBytesPerS: number;
  readonly pieceBytes: number;
  /** How much may wait in front of the links, shared by the flows that are busy. */
  readonly queueBytes: number;
  /**
   * How much of one flow may be in the relay altogether: waiting, on its way, or not yet taken by the
   * receiver.
   */
  readonly inFlightBytes: number;
}

/**
 * The budget of a path over some links. A queue that is given is all that may be in flight, the time on the
 * way included; without one it is 20 ms of the rate in front of the link (64 KiB at least) and what the delay
 * holds.
 */
export function pathBudget(links: readonly LinkShape[]): PathBudget {
  const sum = (of: (link: LinkShape) => number) => links.reduce((total, link) => total + of(link), 0);
  const least = (of: (link: LinkShape) => number) => {
    const given = links.map(of).filter((value) => value > 0);
    return given.length === 0 ? 0 : Math.min(...given);
  };
  const rateBytesPerS = least((link) => link.rateBytesPerS);
  const delayMs = sum((link) => link.delayMs);
  const jitterMs = sum((link) => link.jitterMs);
  const given = least((link) => link.queueBytes);
  const pieceBytes = pieceBytesAt(rateBytesPerS);
  const about = { delayMs, jitterMs, rateBytesPerS, pieceBytes };
  if (given > 0) return { ...about, queueBytes: given, inFlightBytes: given };
  if (rateBytesPerS === 0) {
    return { ...about, queueBytes: UNLIMITED_FLIGHT_BYTES, inFlightBytes: UNLIMITED_FLIGHT_BYTES };
  }
  const queueBytes = Math.max(QUEUE_BYTES_MIN, (rateBytesPerS * QUEUE_MS) / 1000);
  const flightBytes = (rateBytesPerS * (delayMs + jitterMs)) / 1000;
  return { ...about, queueBytes, inFlightBytes: Math.ceil(queueBytes + flightBytes + PIECE_BYTES_MAX) };
}
