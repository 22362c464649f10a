/**
 * What a spec's sections about links mean for the hosts that there are: the shape of each host's NIC before
 * the migration, and what changes and goes wrong during it. Pure.
 *
 * A way from one host to another (a pair, a site link) is a part of the first host's egress. So its delay
 * counts once, while `link` stands for a NIC: what goes from A to B meets A's egress and B's ingress.
 */

import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type LinkShape,
  type NetworkShape,
} from '../proto/generated/godwit/v1/network.ts';
import type { ShapeChange } from '../proto/network-schedule.ts';
import { UNSHAPED_LINK } from '../proto/network-shape.ts';
import {
  type FaultSection,
  type LinkKeys,
  type LinkSection,
  type NetworkSections,
  saysNothing,
} from './network-sections.ts';
import type { RatePoint } from './rate-trace.ts';

/** A spec's sections about links, and the traces that they name by their whole paths. */
export interface ResolvedNetwork extends NetworkSections {
  readonly traces: Readonly<Record<string, readonly RatePoint[]>>;
}

export interface PlannedFault {
  readonly atMs: number;
  readonly host: string;
  readonly fault: LinkFault;
  /** When it ends; undefined when it does so by itself, or with the migration. */
  readonly untilMs: number | undefined;
}

/** A host's part of the plan. */
export interface HostPlan {
  readonly shape: NetworkShape;
  readonly changes: readonly ShapeChange[];
}

export interface NetworkPlan {
  readonly hosts: ReadonlyMap<string, HostPlan>;
  readonly faults: readonly PlannedFault[];
}

/** The plan for these hosts; undefined when the spec says nothing of links. */
export function networkPlan(network: ResolvedNetwork, hosts: readonly string[]): NetworkPlan | undefined {
  if (saysNothing(network)) return undefined;
  const siteOf = sites(network);
  const plans = hosts.map((host) => [host, hostPlan(network, host, hosts, siteOf)] as const);
  return { hosts: new Map(plans), faults: network.faults.map(plannedFault) };
}

/** The hosts that a spec names. */
export function namedHosts(network: NetworkSections): [path: (string | number)[], host: string][] {
  const { hosts, pairs, sites: groups, schedule, faults, background } = network;
  const names: [(string | number)[], string | undefined][] = [];
  for (const host of Object.keys(hosts)) names.push([['hosts', host], host]);
  for (const [site, members] of Object.entries(groups)) {
    for (const [index, host] of members.hosts.entries()) names.push([['sites', site, 'hosts', index], host]);
  }
  for (const [index, { from, to }] of pairs.entries()) {
    names.push([['pairs', index, 'from'], from], [['pairs', index, 'to'], to]);
  }
  for (const [index, { host, from, to }] of schedule.entries()) {
    const path = ['schedule', index];
    names.push([[...path, 'host'], host], [[...path, 'from'], from], [[...path, 'to'], to]);
  }
  for (const [index, { host, peer }] of faults.entries()) {
    names.push([['faults', index, 'host'], host], [['faults', index, 'peer'], peer]);
  }
  names.push([['background', 'from'], background?.from], [['background', 'to'], background?.to]);
  return names.flatMap(([path, host]) => (host === undefined ? [] : [[path, host]]));
}

/** The site of each host that has one. */
export function sites({ hosts, sites: groups }: NetworkSections): Map<string, string> {
  const siteOf = new Map<string, string>();
  for (const [site, members] of Object.entries(groups)) {
    for (const host of members.hosts) siteOf.set(host, site);
  }
  for (const [host, { site }] of Object.entries(hosts)) if (site !== undefined) siteOf.set(host, site);
  return siteOf;
}

/** Everything that a section says of a link but its trace. */
export type LinkShapeKeys = Omit<LinkSection, 'trace'>;

export function linkShape({ rate, delay, jitter, loss, burst, queue, discipline }: LinkShapeKeys): LinkShape {
  return {
    ...(discipline === 'fifo' && { fifo: true }),
    rateBytesPerS: rate ?? 0,
    delayMs: delay ?? 0,
    jitterMs: jitter ?? 0,
    loss: loss ?? 0,
    burstBytes: burst ?? 0,
    queueBytes: queue ?? 0,
  };
}

function hostPlan(
  network: ResolvedNetwork,
  host: string,
  hosts: readonly string[],
  siteOf: ReadonlyMap<string, string>,
): HostPlan {
  const own = network.hosts[host] ?? {};
  const egress = own.egress ?? own.link ?? network.link;
  const ingress = own.ingress ?? own.link ?? network.link;
  const ways = hosts.flatMap((peer) => {
    const way = wayTo(network, siteOf, host, peer);
    return way === undefined ? [] : [{ peer, way }];
  });
  const traced = (link: LinkSection | undefined): readonly RatePoint[] =>
    link?.trace === undefined ? [] : (network.traces[link.trace] ?? []);
  const changes: ShapeChange[] = [
    ...traced(egress).map((point) => traceChange(point, { direction: 'egress' as const })),
    ...traced(ingress).map((point) => traceChange(point, { direction: 'ingress' as const })),
    ...ways.flatMap(({ peer, way }) =>
      traced(way).map((point) => traceChange(point, { direction: 'egress' as const, peer })),
    ),
    ...network.schedule.flatMap((change) => scheduled(change, host)),
  ];
  return {
    shape: {
      egress: egress === undefined ? UNSHAPED_LINK : linkShape(egress),
      ingress: ingress === undefined ? UNSHAPED_LINK : linkShape(ingress),
      peers: ways.map(({ peer, way }) => ({ peer, egress: linkShape(way), ingress: undefined })),
    },
    changes,
  };
}

/** The shape of the way from one host to another: the pair's own, or else that between their sites. */
function wayTo(
  network: NetworkSections,
  siteOf: ReadonlyMap<string, string>,
  from: string,
  to: string,
): LinkSection | undefined {
  if (from === to) return undefined;
  const pair = network.pairs.find((each) => each.from === from && each.to === to);
  if (pair !== undefined) return pair.link;
  const [fromSite, toSite] = [siteOf.get(from), siteOf.get(to)];
  if (fromSite === undefined || toSite === undefined) return undefined;
  return network['site-links'].find((each) => each.from === fromSite && each.to === toSite)?.link;
}

function traceChange(
  { atMs, rateBytesPerS }: RatePoint,
  where: Pick<ShapeChange, 'direction' | 'peer'>,
): ShapeChange {
  return { atMs, ...where, link: { rateBytesPerS } };
}

/** A change of the schedule for one host, if it is about it. */
function scheduled(change: NetworkSections['schedule'][number], host: string): ShapeChange[] {
  const { at: atMs, host: only, from, to } = change;
  const link = changedFields(change);
  if (from !== undefined && to !== undefined) {
    return from === host ? [{ atMs, direction: 'egress', peer: to, link }] : [];
  }
  return only === undefined || only === host ? [{ atMs, link }] : [];
}

/** What keys say of a shape; the others are left as they are. */
export function changedFields({ rate, delay, jitter, loss, burst, queue }: LinkKeys): Partial<LinkShape> {
  return {
    ...(rate !== undefined && { rateBytesPerS: rate }),
    ...(delay !== undefined && { delayMs: delay }),
    ...(jitter !== undefined && { jitterMs: jitter }),
    ...(loss !== undefined && { loss }),
    ...(burst !== undefined && { burstBytes: burst }),
    ...(queue !== undefined && { queueBytes: queue }),
  };
}

const FAULT_KINDS = {
  cut: LinkFaultKind.LINK_FAULT_KIND_CUT,
  stall: LinkFaultKind.LINK_FAULT_KIND_STALL,
  reset: LinkFaultKind.LINK_FAULT_KIND_RESET,
  'half-open': LinkFaultKind.LINK_FAULT_KIND_HALF_OPEN,
  'slow-close': LinkFaultKind.LINK_FAULT_KIND_SLOW_CLOSE,
} as const satisfies Record<FaultSection['do'], LinkFaultKind>;

function plannedFault(section: FaultSection): PlannedFault {
  const { at: atMs, host, do: what, for: forMs, direction, peer = '' } = section;
  const isHalfOpen = what === 'half-open';
  const lasts = what === 'cut' || isHalfOpen;
  return {
    atMs,
    host,
    untilMs: lasts && forMs !== undefined ? atMs + forMs : undefined,
    fault: {
      kind: FAULT_KINDS[what],
      direction: isHalfOpen ? linkDirection(direction) : LinkDirection.LINK_DIRECTION_UNSPECIFIED,
      durationMs: lasts ? 0 : (forMs ?? 0),
      peer,
    },
  };
}

function linkDirection(direction: FaultSection['direction']): LinkDirection {
  return direction === 'ingress' ? LinkDirection.LINK_DIRECTION_INGRESS : LinkDirection.LINK_DIRECTION_EGRESS;
}
