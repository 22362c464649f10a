/** What was asked of the path between two hosts, and whether what a probe measured is near enough. Pure. */

import type {
  LinkComparison,
  LinkShape,
  NetworkShape,
  ProbeResult,
} from '../../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK } from '../../proto/network-shape.ts';
import { FLAG_MS, FLAG_SHARE } from './limits.ts';
import { pathBudget } from './path-budget.ts';

/** A host's name and the shape of its NIC. */
export interface ShapedHost {
  readonly name: string;
  readonly shape: NetworkShape;
}

/**
 * What the shapes of two hosts ask of the path from one to the other: the least rate, and the sum of the
 * delays both ways.
 */
export function askedPath(
  source: ShapedHost,
  destination: ShapedHost,
): { rateBytesPerS: number; roundTripMs: number } {
  const out = pathBudget(linksFrom(source, destination));
  const back = pathBudget(linksFrom(destination, source));
  return { rateBytesPerS: out.rateBytesPerS, roundTripMs: out.delayMs + back.delayMs };
}

/**
 * Sets what was asked and what was measured side by side. A rate is flagged when it is off by more than 3 %,
 * a round trip when it is off by more than 3 % and more than 1 ms.
 */
export function compareProbe(
  source: ShapedHost,
  destination: ShapedHost,
  measured: ProbeResult,
): LinkComparison {
  const asked = askedPath(source, destination);
  const differences: string[] = [];
  const rateOff = measured.rateBytesPerS / asked.rateBytesPerS - 1;
  if (asked.rateBytesPerS > 0 && measured.measuredMs > 0 && Math.abs(rateOff) > FLAG_SHARE) {
    differences.push(
      `the rate is ${mbit(measured.rateBytesPerS)} instead of ${mbit(asked.rateBytesPerS)}: ` +
        percent(rateOff),
    );
  }
  const tripOffMs = measured.roundTripMs - asked.roundTripMs;
  if (measured.roundTripMs > 0 && Math.abs(tripOffMs) > Math.max(FLAG_MS, FLAG_SHARE * asked.roundTripMs)) {
    differences.push(
      `the round trip takes ${measured.roundTripMs.toFixed(2)} ms instead of ${asked.roundTripMs} ms: ` +
        `${tripOffMs > 0 ? '+' : ''}${tripOffMs.toFixed(2)} ms`,
    );
  }
  return {
    source: source.name,
    destination: destination.name,
    askedRateBytesPerS: asked.rateBytesPerS,
    measuredRateBytesPerS: measured.rateBytesPerS,
    askedRoundTripMs: asked.roundTripMs,
    measuredRoundTripMs: measured.roundTripMs,
    differences,
  };
}

function linksFrom(source: ShapedHost, destination: ShapedHost): LinkShape[] {
  const toPeer = source.shape.peers.find(({ peer }) => peer === destination.name)?.egress;
  const fromPeer = destination.shape.peers.find(({ peer }) => peer === source.name)?.ingress;
  const links = [source.shape.egress, toPeer, destination.shape.ingress, fromPeer];
  return links.map((link) => link ?? UNSHAPED_LINK);
}

function mbit(bytesPerS: number): string {
  return `${((bytesPerS * 8) / 1e6).toFixed(1)} Mbit/s`;
}

function percent(share: number): string {
  return `${share > 0 ? '+' : ''}${(share * 100).toFixed(1)} %`;
}
