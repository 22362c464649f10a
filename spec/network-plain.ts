/** The sections about links in the form in which people write them; those that say nothing are left out. */

import type { ResolvedNetwork } from './network-plan.ts';
import type { LinkKeys, LinkSection } from './network-sections.ts';
import type { Plain, PlainMapping } from './plain-values.ts';
import { bandwidth, duration, size } from './units.ts';

export function plainNetwork(network: ResolvedNetwork): PlainMapping {
  const { link, hosts, pairs, sites, 'site-links': siteLinks, schedule, faults, background } = network;
  const way = ({ from, to, link: shape }: (typeof pairs)[number]) => ({ from, to, link: plainLink(shape) });
  return given({
    link: link && plainLink(link),
    hosts: unlessEmpty(mapped(hosts, plainHost)),
    pairs: unlessEmpty(pairs.map(way)),
    sites: unlessEmpty(mapped(sites, ({ hosts: members }) => ({ hosts: [...members] }))),
    'site-links': unlessEmpty(siteLinks.map(way)),
    schedule: unlessEmpty(
      schedule.map(({ at, host, from, to, ...keys }) => ({
        ...given({ at: duration.format(at), host, from, to }),
        ...plainKeys(keys),
      })),
    ),
    background: background && given({ ...background, rate: bandwidth.format(background.rate) }),
    faults: unlessEmpty(
      faults.map(({ at, for: forMs, ...fault }) =>
        given({
          at: duration.format(at),
          ...fault,
          for: forMs === undefined ? undefined : duration.format(forMs),
        }),
      ),
    ),
  });
}

function plainHost({ link, egress, ingress, site }: ResolvedNetwork['hosts'][string]): PlainMapping {
  return given({
    site,
    link: link && plainLink(link),
    egress: egress && plainLink(egress),
    ingress: ingress && plainLink(ingress),
  });
}

function plainLink({ trace, discipline, ...keys }: LinkSection): PlainMapping {
  return { ...plainKeys(keys), ...given({ discipline, trace }) };
}

function plainKeys({ rate, delay, jitter, loss, burst, queue }: LinkKeys): PlainMapping {
  const texts = { rate, delay, jitter, burst, queue };
  const units = { rate: bandwidth, delay: duration, jitter: duration, burst: size, queue: size };
  const entries = Object.entries(units).map(([key, unit]) => {
    const value = texts[key as keyof typeof texts];
    return [key, value === undefined ? undefined : unit.format(value)] as const;
  });
  return given({ ...Object.fromEntries(entries), loss });
}

function given(values: Record<string, Plain | undefined>): PlainMapping {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as PlainMapping;
}

function mapped<Value>(
  values: Readonly<Record<string, Value>>,
  plain: (value: Value) => Plain,
): PlainMapping {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, plain(value)]));
}

function unlessEmpty<Value extends Plain[] | PlainMapping>(value: Value): Value | undefined {
  return Object.keys(value).length === 0 ? undefined : value;
}
