/**
 * What a NetworkShape and a LinkFault may say: limits, the empty shape, and what is wrong with one. The
 * experiment spec, the coordinator and the hosts all ask here. What a backend cannot do is said by
 * hosts/network/backend-plan.ts.
 */

import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type LinkShape,
  linkFaultKindToJSON,
  type NetworkShape,
} from './generated/godwit/v1/network.ts';
import { nameProblem } from './names.ts';

export const NETWORK_LIMITS = {
  /** 8 kbit/s to 1 Tbit/s, as migrations' max-bandwidth. */
  rateBytesPerSMin: 1_000,
  rateBytesPerSMax: 125_000_000_000,
  /** A minute one way: further than any network, and a typing error in most specs. */
  delayMsMax: 60_000,
  /** From here on a connection makes no progress. */
  lossMax: 0.99,
  burstBytesMax: 1024 ** 3,
  queueBytesMin: 4 * 1024,
  queueBytesMax: 1024 ** 3,
  peersMax: 1_024,
  faultDurationMsMax: 3_600_000,
} as const;

/** A link that limits nothing. */
export const UNSHAPED_LINK: LinkShape = Object.freeze({
  rateBytesPerS: 0,
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  burstBytes: 0,
  queueBytes: 0,
});

export const NO_FAULT: LinkFault = Object.freeze({
  kind: LinkFaultKind.LINK_FAULT_KIND_NONE,
  direction: LinkDirection.LINK_DIRECTION_UNSPECIFIED,
  durationMs: 0,
  peer: '',
});

/** A shape that limits nothing, as an object of its own. */
export function unshapedNetwork(): NetworkShape {
  return { egress: UNSHAPED_LINK, ingress: UNSHAPED_LINK, peers: [] };
}

/** Whether nothing at all is asked of a link: its traffic need not pass any backend. */
export function isUnshaped(link: LinkShape | undefined): boolean {
  if (link === undefined) return true;
  return link.rateBytesPerS === 0 && link.delayMs === 0 && link.jitterMs === 0 && link.loss === 0;
}

/** Every link of a shape, with a name for error texts: `egress`, `ingress`, `egress to host-2`, ... */
export function linksOf(shape: NetworkShape): [name: string, link: LinkShape][] {
  const links: [string, LinkShape | undefined][] = [
    ['egress', shape.egress],
    ['ingress', shape.ingress],
  ];
  for (const { peer, egress, ingress } of shape.peers) {
    links.push([`egress to ${peer}`, egress], [`ingress from ${peer}`, ingress]);
  }
  return links.flatMap(([name, link]) => (link === undefined ? [] : [[name, link]]));
}

/** Everything that is wrong with a shape, as sentences; empty when a backend may be asked for it. */
export function networkShapeProblems(shape: NetworkShape): string[] {
  const problems = linksOf(shape).flatMap(([name, link]) => linkShapeProblems(name, link));
  const { peersMax } = NETWORK_LIMITS;
  if (shape.peers.length > peersMax) {
    problems.push(`${shape.peers.length} peers have a shape of their own; allowed is at most ${peersMax}`);
  }
  const seen = new Set<string>();
  for (const { peer } of shape.peers) {
    const problem = nameProblem(peer);
    if (problem !== undefined) problems.push(`peer: ${problem}`);
    if (seen.has(peer)) problems.push(`peer ${peer} is given twice; allowed is one shape for each peer`);
    seen.add(peer);
  }
  return problems;
}

/** Everything that is wrong with one link's shape; `name` begins each sentence. */
export function linkShapeProblems(name: string, link: LinkShape): string[] {
  const limits = NETWORK_LIMITS;
  const { rateBytesPerS, delayMs, jitterMs, loss, burstBytes, queueBytes } = link;
  const problems: string[] = [];
  const say = (what: string, value: number, allowed: string) =>
    problems.push(`${name} ${what} is ${value}; allowed is ${allowed}`);
  const { rateBytesPerSMin, rateBytesPerSMax } = limits;
  if (rateBytesPerS !== 0 && !(rateBytesPerS >= rateBytesPerSMin && rateBytesPerS <= rateBytesPerSMax)) {
    say('rate', rateBytesPerS, `0 (unlimited) or ${rateBytesPerSMin} to ${rateBytesPerSMax} bytes/s`);
  }
  if (!(delayMs >= 0 && delayMs <= limits.delayMsMax)) say('delay', delayMs, `0 to ${limits.delayMsMax} ms`);
  if (!(jitterMs >= 0 && jitterMs <= delayMs)) {
    say('jitter', jitterMs, `0 to the delay, ${delayMs} ms: nothing arrives before it was sent`);
  }
  if (!(loss >= 0 && loss <= limits.lossMax)) say('loss', loss, `a share from 0 to ${limits.lossMax}`);
  if (!(burstBytes >= 0 && burstBytes <= limits.burstBytesMax)) {
    say('burst', burstBytes, `0 (the default) to ${limits.burstBytesMax} bytes`);
  }
  if (burstBytes > 0 && rateBytesPerS === 0) {
    problems.push(`${name} burst is ${burstBytes} without a rate; give a rate, or leave the burst out`);
  }
  const { queueBytesMin, queueBytesMax } = limits;
  if (queueBytes !== 0 && !(queueBytes >= queueBytesMin && queueBytes <= queueBytesMax)) {
    say('queue', queueBytes, `0 (the default) or ${queueBytesMin} to ${queueBytesMax} bytes`);
  }
  return problems;
}

/** What is wrong with a rate that traffic is to have, or undefined. */
export function rateProblem(rateBytesPerS: number): string | undefined {
  const { rateBytesPerSMin: min, rateBytesPerSMax: max } = NETWORK_LIMITS;
  if (rateBytesPerS >= min && rateBytesPerS <= max) return undefined;
  return `the rate is ${rateBytesPerS}; allowed is ${min} to ${max} bytes/s`;
}

/** What is wrong with a fault, or undefined. */
export function linkFaultProblem(fault: LinkFault): string | undefined {
  const { kind, direction, durationMs, peer } = fault;
  if (peer !== '' && nameProblem(peer) !== undefined) return `fault's peer: ${nameProblem(peer)}`;
  const max = NETWORK_LIMITS.faultDurationMsMax;
  switch (kind) {
    case LinkFaultKind.LINK_FAULT_KIND_UNSPECIFIED:
      return 'fault is 0; allowed is none, cut, half-open, stall, reset or slow-close';
    case LinkFaultKind.LINK_FAULT_KIND_HALF_OPEN:
      if (direction !== LinkDirection.LINK_DIRECTION_UNSPECIFIED) return undefined;
      return 'half-open needs the direction in which nothing passes; allowed is egress or ingress';
    case LinkFaultKind.LINK_FAULT_KIND_STALL:
    case LinkFaultKind.LINK_FAULT_KIND_SLOW_CLOSE:
      if (durationMs > 0 && durationMs <= max) return undefined;
      return `the fault's duration is ${durationMs} ms; allowed is more than 0, at most ${max} ms`;
    case LinkFaultKind.LINK_FAULT_KIND_NONE:
    case LinkFaultKind.LINK_FAULT_KIND_CUT:
    case LinkFaultKind.LINK_FAULT_KIND_RESET:
      return undefined;
    default:
      return `fault ${String(kind)} is unknown; allowed is none, cut, half-open, stall, reset or slow-close`;
  }
}

/** A fault's name as people write it: cut, half-open, ... */
export function linkFaultName(kind: LinkFaultKind): string {
  return linkFaultKindToJSON(kind).replace('LINK_FAULT_KIND_', '').toLowerCase().replaceAll('_', '-');
}
