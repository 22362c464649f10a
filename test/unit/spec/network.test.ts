/** What a spec may say of links, what it means for each host, and what is said of one that may not. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BandwidthRule } from '../../../proto/generated/godwit/v1/migration.ts';
import { LinkDirection, LinkFaultKind } from '../../../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK } from '../../../proto/network-shape.ts';
import { type NetworkPlan, networkPlan } from '../../../spec/network-plan.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';
import { toPlain } from '../../../spec/plain.ts';
import { SpecError } from '../../../spec/problems.ts';
import { parseRateTrace } from '../../../spec/rate-trace.ts';
import { guestsOf, type ResolvedSpec } from '../../../spec/resolve.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-rates-'));
const traceFile = join(folder, 'rates.txt');
writeFileSync(traceFile, '# time-ms rate\n0 8mbit\n1500.5 unlimited  # free\n');

afterAll(() => rmSync(folder, { recursive: true }));

const HOSTS = ['host-1', 'host-2', 'host-3'];

function spec(text: string): ResolvedSpec {
  return parseSpec(`fabric: {hosts: 3}\nguest: {}\nmigration: {technique: pre-copy}\n${text}`, 's.yaml');
}

function plan(text: string): NetworkPlan {
  return networkPlan(spec(text).network, HOSTS)!;
}

function problemsOf(text: string): string {
  try {
    spec(text);
    return '';
  } catch (error) {
    if (error instanceof SpecError) return error.message;
    throw error;
  }
}

const mbit = (count: number) => ({ ...UNSHAPED_LINK, rateBytesPerS: count * 125_000 });

describe('links', () => {
  it('are not touched when the spec says nothing of them, and the coordinator chooses the hosts', () => {
    const resolved = spec('sites: {a: {hosts: [host-1]}}');
    expect(networkPlan(resolved.network, HOSTS)).toBeUndefined();
    expect(resolved).toMatchObject({ from: '', to: '', guestCount: 1, allAtOnce: false });
  });

  it('are one shape for all hosts, another for one of them, and a third for one direction', () => {
    const { hosts } = plan(
      'link: {rate: 1mbit}\nhosts: {host-2: {link: {rate: 2mbit}, ingress: {rate: 3mbit}}, host-3: {site: a}}',
    );
    expect(hosts.get('host-1')?.shape).toEqual({ egress: mbit(1), ingress: mbit(1), peers: [] });
    expect(hosts.get('host-2')?.shape).toEqual({ egress: mbit(2), ingress: mbit(3), peers: [] });
    expect(hosts.get('host-3')?.shape).toEqual({ egress: mbit(1), ingress: mbit(1), peers: [] });
  });

  it('are first in, first out where the spec says so, also when it is stored', () => {
    const text = 'link: {rate: 1mbit, discipline: fifo}\nhosts: {host-2: {link: {discipline: fair}}}';
    const { hosts } = plan(text);
    expect(hosts.get('host-1')?.shape.egress).toEqual({ ...mbit(1), fifo: true });
    expect(hosts.get('host-2')?.shape.egress).toEqual(UNSHAPED_LINK);
    const resolved = spec(text);
    expect(parseSpec(JSON.stringify(toPlain(resolved)), 's.yaml')).toEqual(resolved);
  });

  it('between sites are the egress of each host of the one to each of the other; a pair goes first', () => {
    const { hosts } = plan(`
hosts: {host-3: {site: south}}
sites: {north: {hosts: [host-1, host-2]}, south: {hosts: []}}
site-links: [{from: north, to: south, link: {rate: 1mbit}}]
pairs: [{from: host-2, to: host-3, link: {rate: 5mbit, delay: 2ms, jitter: 1ms, burst: 4KiB, queue: 8KiB}}]`);
    const way = (host: string) => hosts.get(host)?.shape.peers;
    expect(way('host-1')).toEqual([{ peer: 'host-3', egress: mbit(1), ingress: undefined }]);
    const pair = { ...mbit(5), delayMs: 2, jitterMs: 1, burstBytes: 4096, queueBytes: 8192 };
    expect(way('host-2')).toEqual([{ peer: 'host-3', egress: pair, ingress: undefined }]);
    expect(way('host-3')).toEqual([]);
    expect(hosts.get('host-1')?.shape.egress).toEqual(UNSHAPED_LINK);
  });

  it('change by a schedule: of all hosts, of one, or of a way; and by a trace of rates', () => {
    const { hosts } = plan(`
link: {rate: 1mbit}
hosts: {host-2: {egress: {trace: ${traceFile}}}}
schedule:
  - {at: 2s, rate: 2mbit}
  - {at: 3s, host: host-3, delay: 5ms}
  - {at: 4s, from: host-3, to: host-1, rate: unlimited}`);
    const all = { atMs: 2000, link: { rateBytesPerS: 250_000 } };
    expect(hosts.get('host-1')?.changes).toEqual([all]);
    expect(hosts.get('host-2')?.changes).toEqual([
      { atMs: 0, direction: 'egress', link: { rateBytesPerS: 1_000_000 } },
      { atMs: 1500.5, direction: 'egress', link: { rateBytesPerS: 0 } },
      all,
    ]);
    expect(hosts.get('host-3')?.changes).toEqual([
      all,
      { atMs: 3000, link: { delayMs: 5 } },
      { atMs: 4000, direction: 'egress', peer: 'host-1', link: { rateBytesPerS: 0 } },
    ]);
  });

  it('break as the faults say, and those that last end when they are told to', () => {
    const { faults } = plan(`faults:
  - {at: 500ms, host: host-1, do: cut, for: 1s, peer: host-2}
  - {at: 1s, host: host-1, do: stall, for: 2s}
  - {at: 2s, host: host-2, do: half-open, direction: ingress}
  - {at: 3s, host: host-2, do: reset}`);
    expect(faults).toMatchObject([
      { atMs: 500, untilMs: 1500, fault: { kind: LinkFaultKind.LINK_FAULT_KIND_CUT, peer: 'host-2' } },
      { untilMs: undefined, fault: { kind: LinkFaultKind.LINK_FAULT_KIND_STALL, durationMs: 2000 } },
      {
        untilMs: undefined,
        fault: {
          kind: LinkFaultKind.LINK_FAULT_KIND_HALF_OPEN,
          direction: LinkDirection.LINK_DIRECTION_INGRESS,
        },
      },
      { host: 'host-2', fault: { kind: LinkFaultKind.LINK_FAULT_KIND_RESET } },
    ]);
  });

  it('make it known from where to where a guest moves', () => {
    expect(spec('link: {delay: 1ms}')).toMatchObject({ from: 'host-1', to: 'host-2' });
    const text = 'fabric: {hosts: 3}\nguest: {count: 2}\nmigration: {technique: pre-copy, to: host-1}';
    const resolved = parseSpec(text, 's.yaml');
    expect(resolved).toMatchObject({ from: 'host-2', to: 'host-1' });
    expect(guestsOf(resolved).map(({ name, seed }) => `${name} ${seed}`)).toEqual(['guest-1 1', 'guest-2 2']);
  });

  it('stand in the stored spec, which gives the same experiment again', () => {
    const resolved = parseSpec(
      `guest: {count: 3}
migration: {technique: pre-copy, all-at-once: true}
link: {rate: 33.3mbit, delay: 1.5ms, jitter: 100us, queue: 1MiB, trace: rates.txt}
hosts: {host-1: {site: a, egress: {rate: unlimited}}, host-2: {link: {delay: 0}}}
pairs: [{from: host-1, to: host-2, link: {rate: 1gbit, burst: 3kB}}]
sites: {b: {hosts: [host-2]}}
site-links: [{from: a, to: b, link: {delay: 40ms}}]
schedule: [{at: 0, host: host-1, rate: 1mbit}, {at: 1m, from: host-1, to: host-2, delay: 3ms, jitter: 2ms}]
faults: [{at: 1s, host: host-1, do: half-open, direction: ingress, for: 2s, peer: host-2}]`,
      join(folder, 's.yaml'),
    );
    const plain = toPlain(resolved);
    const again = parseSpec(JSON.stringify(plain), '/elsewhere/results.json');
    expect(again).toEqual({ ...resolved, name: again.name });
    expect(toPlain(again)).toEqual(plain);
  });
});

describe('wrong links', () => {
  it.each([
    ['link: {rat: 1mbit}', 'link.rat: found an unknown key; allowed are rate, delay.*did you mean "rate"'],
    ['hosts: {host-1: {lnk: {}}}', 'hosts.host-1.lnk: found an unknown key.*did you mean "link"'],
    ['link: {delay: 1ms, jitter: 2ms}', 'link: the link: jitter is 2; allowed is 0 to the delay'],
    ['link: {loss: 0.01}', 'link.loss: found 0.01, but hosts of the process fabric .* cannot lose'],
    ['schedule: [{at: 1s, loss: 0.1}]', 'schedule\\[0\\].loss: found 0.1, but'],
    ['hosts: {host-4: {}}', 'hosts.host-4: found no host of this fabric; allowed are host-1 to host-3'],
    ['pairs: [{from: host-1, to: host-1, link: {}}]', 'pairs\\[0\\].to: found "host-1" at both ends'],
    ['site-links: [{from: a, to: b, link: {}}]', 'site-links\\[0\\].from: found no site of this spec'],
    [
      'sites: {a: {hosts: [host-1]}, b: {hosts: [host-1]}}',
      'sites.b.hosts\\[0\\]: found host-1, which belongs to site a',
    ],
    ['schedule: [{at: 1s}]', 'schedule\\[0\\]: found nothing that changes'],
    ['schedule: [{at: 1s, from: host-1, rate: 1mbit}]', 'schedule\\[0\\].to: to is missing'],
    ['schedule: [{at: 1s, jitter: 1ms}]', 'schedule: host-1: from 1000 ms on: egress jitter is 1'],
    ['faults: [{at: 1s, host: host-1, do: stall}]', 'faults\\[0\\].for: for is missing'],
    ['faults: [{at: 1s, host: host-1, do: reset, for: 1s}]', 'faults\\[0\\].for: reset does not use'],
    ['faults: [{at: 1s, host: host-1, do: cut, direction: egress}]', 'faults\\[0\\].direction: cut does not'],
    ['link: {trace: none.txt}', 'link.trace: none.txt: cannot read it'],
  ])('%s', (text, problem) => {
    expect(problemsOf(text)).toMatch(new RegExp(problem));
  });

  it('may lose packets where tc may: loss is refused only of the process fabric', () => {
    const text = 'fabric: {kind: netns}\nguest: {}\nmigration: {technique: pre-copy}\nlink: {loss: 0.01}';
    expect(
      networkPlan(parseSpec(text, 's.yaml').network, HOSTS)?.hosts.get('host-1')?.shape.egress?.loss,
    ).toBe(0.01);
  });

  it.each([
    ['5 1mbit\n4 1mbit', 'line 2: found the time 4 ms after 5 ms'],
    ['0 fast', 'line 1: found "0 fast"; allowed is "time-ms rate"'],
    ['0 1bit', 'line 1: found the rate 1bit; allowed is 8kbit'],
    ['# nothing', 'found no rate'],
    ['9e9 1mbit', 'line 1: found "9e9 1mbit"'],
  ])('of a trace are told with their line: %j', (text, problem) => {
    expect(parseRateTrace(text).problems.join('\n')).toContain(problem);
  });
});

describe('other traffic', () => {
  it('has a rate, makes the hosts known, and is stored', () => {
    const resolved = spec('background: {rate: 3mbit, from: host-3}');
    expect(resolved).toMatchObject({ from: 'host-1', to: 'host-2' });
    expect(resolved.network.background).toEqual({ rate: 375_000, from: 'host-3' });
    expect(parseSpec(JSON.stringify(toPlain(resolved)), 's.yaml')).toEqual(resolved);
    expect(networkPlan(resolved.network, HOSTS)).toBeDefined();
  });

  it('that goes nowhere, or to a host that there is not, is refused', () => {
    expect(problemsOf('background: {rate: 3mbit, from: host-2}')).toContain('from host-2 to itself');
    expect(problemsOf('background: {rate: 3mbit, to: host-9}')).toContain('found no host of this fabric');
    expect(problemsOf('background: {rate: 0mbit}')).toContain('background.rate');
  });
});

describe('an adaptive max-bandwidth', () => {
  const moving = (keys: string): ResolvedSpec =>
    parseSpec(`guest: {}\nmigration: {technique: pre-copy, ${keys}}`, 's.yaml');

  it('is the rule that yields, without a limit', () => {
    const resolved = moving('max-bandwidth: adaptive');
    const { options } = resolved.variants[0]!;
    expect(options.maxBandwidthBytesPerS).toBe(0);
    expect(options.convergence?.bandwidthRule).toBe(BandwidthRule.BANDWIDTH_RULE_DELAY);
    expect(parseSpec(JSON.stringify(toPlain(resolved)), 'command-line').variants[0]!.options).toEqual(
      options,
    );
    expect(moving('max-bandwidth: adaptive, bandwidth-rule: delay').variants[0]!.options).toEqual(options);
  });

  it('beside another rule is refused, and so is a list with it', () => {
    const both = () => moving('max-bandwidth: adaptive, bandwidth-rule: clark');
    expect(both).toThrow('found clark, and max-bandwidth says adaptive');
    expect(() => moving('max-bandwidth: adaptive, bandwidth-rule: [fixed, delay]')).toThrow('says adaptive');
    expect(() => moving('max-bandwidth: [1gbit, adaptive]')).toThrow('or adaptive');
  });
});
