/** What ties the sections about links together, and what the fabric's hosts cannot do. */

import { nameProblem } from '../proto/names.ts';
import { scheduleProblems } from '../proto/network-schedule.ts';
import { linkShapeProblems } from '../proto/network-shape.ts';
import { linkShape, namedHosts, networkPlan, type ResolvedNetwork, sites } from './network-plan.ts';
import { LINK_KEYS, type LinkKeys, linksIn, type NetworkSections } from './network-sections.ts';
import type { BrokenRule, Path } from './problems.ts';
import type { Spec } from './schema.ts';

/** The names of a fabric's hosts. */
export function fabricHosts({ hosts }: Spec['fabric']): string[] {
  return Array.from({ length: hosts }, (_, index) => `host-${index + 1}`);
}

/** The rules that need nothing but the spec. */
export function networkRules(spec: Spec): BrokenRule[] {
  return [
    ...linkRules(spec),
    ...hostRules(spec),
    ...siteRules(spec),
    ...pairRules(spec),
    ...scheduleRules(spec),
    ...faultRules(spec),
    ...backgroundRules(spec),
  ];
}

/** What the schedule makes of the shapes over time; for a spec that keeps the rules. */
export function planRules(network: ResolvedNetwork, hosts: readonly string[]): BrokenRule[] {
  const plan = networkPlan(network, hosts);
  const problems = [...(plan?.hosts ?? [])].flatMap(([host, { shape, changes }]) =>
    scheduleProblems(shape, changes).map((problem) => `${host}: ${problem}`),
  );
  // One host says it for all.
  return problems
    .slice(0, 1)
    .map((message) => ({ path: ['schedule'], message, because: [['link'], ['hosts']] }));
}

function linkRules(spec: Spec): BrokenRule[] {
  const links: [Path, LinkKeys][] = [...linksIn(spec)];
  const shapes = linksIn(spec).flatMap(([path, link]) =>
    linkShapeProblems('the link:', linkShape(link)).map((message) => ({ path, message })),
  );
  // Time has no shape of its own: what a change leads to is held against the plan.
  for (const [index, change] of spec.schedule.entries()) links.push([['schedule', index], change]);
  return [...shapes, ...links.flatMap(([path, link]) => lossRules(spec.fabric, path, link))];
}

function lossRules({ kind }: Spec['fabric'], path: Path, { loss }: LinkKeys): BrokenRule[] {
  if (loss === undefined || loss === 0 || kind !== 'process') return [];
  const message =
    `found ${loss}, but hosts of the process fabric are linked by a relay, which carries streams and cannot ` +
    'lose packets; allowed is 0 there: loss needs hosts that shape with tc and a kernel with netem';
  return [{ path: [...path, 'loss'], message, because: [['fabric', 'kind']] }];
}

function hostRules({ fabric, migration, ...network }: Spec): BrokenRule[] {
  const known = fabricHosts(fabric);
  const named = namedHosts(network);
  for (const key of ['from', 'to'] as const) {
    const host = migration[key];
    if (host !== undefined) named.push([['migration', key], host]);
  }
  const because = [['fabric', 'hosts']];
  const allowed = `host-1 to ${known.at(-1)}, as many as fabric.hosts says`;
  const message = `found no host of this fabric; allowed are ${allowed}`;
  const unknown = named
    .filter(([, host]) => !known.includes(host))
    .map(([path]) => ({ path, message, because }));
  if (migration.from === undefined || migration.from !== migration.to) return unknown;
  const same = `found "${migration.to}", where the guest comes from; allowed is another host`;
  return [...unknown, { path: ['migration', 'to'], message: same, because: [['migration', 'from']] }];
}

function siteRules(network: NetworkSections): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const seen = new Map<string, string>();
  for (const [site, { hosts }] of Object.entries(network.sites)) {
    if (nameProblem(site) !== undefined) {
      broken.push({ path: ['sites', site], message: `found "${site}"; allowed is a name`, key: true });
    }
    for (const [index, host] of hosts.entries()) {
      const other = seen.get(host) ?? network.hosts[host]?.site;
      seen.set(host, site);
      if (other === undefined || other === site) continue;
      const message = `found ${host}, which belongs to site ${other}; allowed is one site for each host`;
      broken.push({ path: ['sites', site, 'hosts', index], message });
    }
  }
  const names = [...new Set([...Object.keys(network.sites), ...sites(network).values()])];
  for (const [index, way] of network['site-links'].entries()) {
    for (const key of ['from', 'to'] as const) {
      if (names.includes(way[key])) continue;
      const message = `found no site of this spec; allowed are ${names.join(', ') || 'those under sites'}`;
      broken.push({ path: ['site-links', index, key], message });
    }
  }
  return broken;
}

function pairRules(network: NetworkSections): BrokenRule[] {
  return (['pairs', 'site-links'] as const).flatMap((key) =>
    network[key].flatMap(({ from, to }, index): BrokenRule[] => {
      const path = [key, index];
      if (from === to) {
        return [{ path: [...path, 'to'], message: `found "${to}" at both ends; allowed is another one` }];
      }
      const first = network[key].findIndex((other) => other.from === from && other.to === to);
      if (first === index) return [];
      return [{ path, message: `found the way from ${from} to ${to} a second time; allowed is once` }];
    }),
  );
}

function scheduleRules({ schedule }: NetworkSections): BrokenRule[] {
  return schedule.flatMap((change, index): BrokenRule[] => {
    const { host, from, to } = change;
    const path = ['schedule', index];
    if ((from === undefined) !== (to === undefined)) {
      const missing = from === undefined ? 'from' : 'to';
      return [
        { path: [...path, missing], message: `${missing} is missing; allowed are both from and to, or none` },
      ];
    }
    if (host !== undefined && from !== undefined) {
      const message = 'a change is about a host or about a way between two; leave host or from and to out';
      return [{ path: [...path, 'host'], message, key: true }];
    }
    if (LINK_KEYS.some((key) => change[key] !== undefined)) return [];
    return [{ path, message: `found nothing that changes; allowed are ${LINK_KEYS.join(', ')}` }];
  });
}

function backgroundRules({ background, migration }: Spec): BrokenRule[] {
  if (background === undefined) return [];
  const from = background.from ?? migration.from ?? (migration.to === 'host-1' ? 'host-2' : 'host-1');
  const to = background.to ?? migration.to ?? (migration.from === 'host-2' ? 'host-1' : 'host-2');
  if (from !== to) return [];
  const message = `found traffic from ${from} to itself; allowed are two hosts`;
  return [{ path: ['background'], message, because: [['migration']] }];
}

function faultRules({ faults }: NetworkSections): BrokenRule[] {
  return faults.flatMap((fault, index): BrokenRule[] => {
    const path = ['faults', index];
    const broken: BrokenRule[] = [];
    const { do: what, for: forMs, direction } = fault;
    const needsFor = what === 'stall' || what === 'slow-close';
    if (needsFor && forMs === undefined) {
      broken.push({ path: [...path, 'for'], message: 'for is missing; allowed is a time such as 2s' });
    }
    if (what === 'reset' && forMs !== undefined) {
      broken.push({
        path: [...path, 'for'],
        message: 'reset does not use this key; leave it out',
        key: true,
      });
    }
    if (what !== 'half-open' && direction !== undefined) {
      const message = `${what} does not use this key; only half-open does`;
      broken.push({ path: [...path, 'direction'], message, key: true });
    }
    return broken;
  });
}
