/**
 * The sections of a spec that say what the links between hosts are: shapes of NICs, of pairs and of sites,
 * how they change during a migration, and what goes wrong with them. What they mean together is in network-
 * plan.ts.
 */

import { z } from 'zod';
import { NETWORK_LIMITS } from '../proto/network-shape.ts';
import { choice, name, quantity, section, share, text } from './fields.ts';
import { bandwidth, duration, size } from './units.ts';

export const NETWORK_SECTION_LIMITS = {
  pairsMax: 1024,
  scheduleMax: 1000,
  faultsMax: 100,
  /** An hour into a migration, which none outlives. */
  atMsMax: 3_600_000,
} as const;

export const LINK_FAULTS = ['cut', 'stall', 'reset', 'half-open', 'slow-close'] as const;
export const LINK_DIRECTIONS = ['egress', 'ingress'] as const;

const LIMITS = NETWORK_LIMITS;
const hostName = () => name().describe('The name of a host: host-1 to host-N.');
const at = () =>
  quantity(duration, 0, NETWORK_SECTION_LIMITS.atMsMax).describe("When, since the migration's start.");

/** How connections share a link: by turns, or by who came first. */
export const DISCIPLINES = ['fair', 'fifo'] as const;

const linkKeys = {
  rate: quantity(bandwidth, LIMITS.rateBytesPerSMin, LIMITS.rateBytesPerSMax)
    .optional()
    .describe('What the link carries, TCP payload. Default: unlimited.'),
  delay: quantity(duration, 0, LIMITS.delayMsMax).optional().describe('One way. Default: 0.'),
  jitter: quantity(duration, 0, LIMITS.delayMsMax)
    .optional()
    .describe('Uniform around the delay, at most the delay. Default: 0.'),
  loss: share(LIMITS.lossMax)
    .optional()
    .describe('The share of packets that are lost; needs hosts whose kernel has netem. Default: 0.'),
  burst: quantity(size, 0, LIMITS.burstBytesMax)
    .optional()
    .describe('What an idle link lets through at once. Default: the least that the backend can do.'),
  queue: quantity(size, LIMITS.queueBytesMin, LIMITS.queueBytesMax)
    .optional()
    .describe('What waits in front of the link or is on its way. Default: 20 ms of the rate, and the delay.'),
};

/** What of a link does not change over time. */
const disciplineKey = {
  discipline: choice(DISCIPLINES)
    .optional()
    .describe(
      "How connections share it: by turns, or first in, first out, as the kernel's queue always is. Default: fair.",
    ),
};

/** What of a link may change over time. */
export const LINK_KEYS = ['rate', 'delay', 'jitter', 'loss', 'burst', 'queue'] as const;

const link = section({
  ...linkKeys,
  ...disciplineKey,
  trace: text('the path of a rate trace')
    .optional()
    .describe('A file of lines "time-ms rate", relative to the spec: the rate over the migration.'),
});

const pair = {
  from: hostName(),
  to: hostName(),
  link: link.describe("What the traffic from one to the other meets besides the NICs' own shapes."),
};

const host = section({
  link: link.optional().describe("The shape of this host's NIC in both directions, in place of `link`."),
  egress: link.optional().describe('The shape of what leaves this host, in place of the one for both.'),
  ingress: link.optional().describe('The shape of what comes to this host, in place of the one for both.'),
  site: name().optional().describe('The site that this host belongs to.'),
}).describe('What is special about a host.');

const site = section({
  hosts: z.array(hostName(), { error: 'a list of hosts' }).describe('The hosts that belong to the site.'),
}).describe('A data centre or a provider.');

const fault = section({
  at: at(),
  host: hostName().describe('The host whose NIC it is.'),
  do: choice(LINK_FAULTS).describe('What goes wrong.'),
  for: quantity(duration, 0.001, LIMITS.faultDurationMsMax)
    .optional()
    .describe('How long; without it a cut or a half-open link lasts until the migration has ended.'),
  direction: choice(LINK_DIRECTIONS)
    .optional()
    .describe('half-open: the direction in which nothing passes. Default: egress.'),
  peer: name().optional().describe('Only the traffic with this host. Default: all.'),
}).describe('A fault of a NIC during the migration; a NIC has one at a time.');

const change = section({
  at: at(),
  host: name().optional().describe('The host whose NIC changes, in both directions. Default: all hosts.'),
  from: name().optional().describe('With `to`: only the way from this host to that one changes.'),
  to: name().optional().describe('See `from`.'),
  ...linkKeys,
}).describe('From this time on the given keys of the links have these values.');

const list = <Item extends z.ZodType>(item: Item, what: string, max: number) =>
  z.array(item, { error: `a list of ${what}` }).max(max, { error: `at most ${max} ${what}` });

/** By name; what names are allowed is held in network-rules.ts. */
const named = <Item extends z.ZodType>(item: Item, what: string) =>
  z.record(z.string(), item, { error: `a mapping from names of ${what}` });

const background = section({
  rate: quantity(bandwidth, LIMITS.rateBytesPerSMin, LIMITS.rateBytesPerSMax).describe(
    'What it offers, however much of it arrives.',
  ),
  from: name().optional().describe('The host that sends. Default: the one that the guests leave.'),
  to: name().optional().describe('The host that it goes to. Default: the one that the guests move to.'),
});

/** The top-level keys of a spec that are about links. */
export const networkSections = {
  link: link.optional().describe("The shape of every host's NIC, egress and ingress. Default: not shaped."),
  hosts: named(host, 'hosts').default({}).describe('What is special about hosts, by name.'),
  pairs: list(
    section(pair).describe('A way from one host to another.'),
    'pairs',
    NETWORK_SECTION_LIMITS.pairsMax,
  )
    .default([])
    .describe('Ways between two hosts, one for each direction.'),
  sites: named(site, 'sites').default({}).describe('Which hosts belong together, by the name of the site.'),
  'site-links': list(
    section({
      from: name().describe('The name of a site.'),
      to: name().describe('The name of a site.'),
      link: pair.link,
    }).describe('The way from each host of one site to each host of another.'),
    'site links',
    NETWORK_SECTION_LIMITS.pairsMax,
  )
    .default([])
    .describe('Ways between two sites, one for each direction.'),
  schedule: list(change, 'changes', NETWORK_SECTION_LIMITS.scheduleMax)
    .default([])
    .describe('How links change during the migration.'),
  background: background
    .optional()
    .describe("Traffic through the same NICs, from the warm-up to the trial's end. Default: none."),
  faults: list(fault, 'faults', NETWORK_SECTION_LIMITS.faultsMax)
    .default([])
    .describe('What goes wrong with links during the migration.'),
};

const sections = z.object(networkSections);
export type NetworkSections = z.output<typeof sections>;
export type LinkSection = NonNullable<NetworkSections['link']>;
export type LinkKeys = Omit<LinkSection, 'trace' | 'discipline'>;
export type ChangeSection = NetworkSections['schedule'][number];
export type FaultSection = NetworkSections['faults'][number];

/** Whether a spec says anything about links. */
export function saysNothing(network: NetworkSections): boolean {
  const { link: all, hosts, pairs, 'site-links': siteLinks, schedule, faults, background: other } = network;
  const special = Object.values(hosts).some((one) => one.link ?? one.egress ?? one.ingress);
  const lists = [pairs, siteLinks, schedule, faults];
  return all === undefined && other === undefined && !special && lists.every(({ length }) => length === 0);
}

/** Every link of a spec with the way to it. */
export function linksIn(network: NetworkSections): [path: (string | number)[], link: LinkSection][] {
  const found: [(string | number)[], LinkSection | undefined][] = [[['link'], network.link]];
  for (const [host, { link: both, egress, ingress }] of Object.entries(network.hosts)) {
    found.push([['hosts', host, 'link'], both]);
    found.push([['hosts', host, 'egress'], egress], [['hosts', host, 'ingress'], ingress]);
  }
  for (const [index, way] of network.pairs.entries()) found.push([['pairs', index, 'link'], way.link]);
  for (const [index, way] of network['site-links'].entries()) {
    found.push([['site-links', index, 'link'], way.link]);
  }
  return found.flatMap(([path, one]) => (one === undefined ? [] : [[path, one]]));
}
