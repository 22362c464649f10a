/** Who shapes what, and the commands that say it to the kernel. */

import { describe, expect, test } from 'vitest';
import { backendPlan } from '../../../hosts/network/backend-plan.ts';
import type { KernelFeatures } from '../../../hosts/network/kernel-features.ts';
import { tcCommands, tcRemoveCommands, wireBytesPerS } from '../../../hosts/network/tc-commands.ts';
import type { LinkShape, NetworkShape } from '../../../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK, unshapedNetwork } from '../../../proto/network-shape.ts';

const link = (changes: Partial<LinkShape>): LinkShape => ({ ...UNSHAPED_LINK, ...changes });
const whole: KernelFeatures = {
  namespaces: true,
  permitted: true,
  htb: true,
  tbf: true,
  netem: true,
  ifb: true,
  redirect: true,
  missing: {},
};
const wan: NetworkShape = {
  egress: link({ rateBytesPerS: 12_500_000, delayMs: 40 }),
  ingress: link({ rateBytesPerS: 12_500_000 }),
  peers: [],
};

describe('the plan', () => {
  test('gives everything to a kernel that can do everything', () => {
    expect(backendPlan(wan, whole, false)).toEqual({ tc: wan, relay: undefined, problems: [] });
  });

  test('gives rates to tc and delays to the relay when the kernel has no netem', () => {
    const { tc, relay, problems } = backendPlan(wan, { ...whole, netem: false }, false);
    expect(tc).toEqual({ ...wan, egress: link({ rateBytesPerS: 12_500_000 }) });
    expect(relay).toEqual({ ...unshapedNetwork(), egress: link({ delayMs: 40 }) });
    expect(problems).toEqual([]);
  });

  test('gives ingress to the relay when the kernel has no IFB, and all to it without permission', () => {
    const { tc, relay } = backendPlan(wan, { ...whole, ifb: false }, false);
    expect(tc?.ingress).toEqual(UNSHAPED_LINK);
    expect(relay).toEqual({ ...unshapedNetwork(), ingress: wan.ingress });
    expect(backendPlan(wan, { ...whole, permitted: false }, false)).toEqual({
      tc: undefined,
      relay: wan,
      problems: [],
    });
  });

  test('says that loss cannot be had where only netem could do it', () => {
    const lossy = { ...wan, egress: link({ loss: 0.001 }) };
    expect(backendPlan(lossy, whole, false).problems).toEqual([]);
    expect(backendPlan(lossy, { ...whole, netem: false }, false).problems[0]).toContain(
      'egress loss is 0.001',
    );
  });

  test('needs no backend for no shape, and the relay when there will be faults', () => {
    expect(backendPlan(unshapedNetwork(), whole, false)).toEqual({
      tc: undefined,
      relay: undefined,
      problems: [],
    });
    expect(backendPlan(unshapedNetwork(), whole, true).relay).toEqual(unshapedNetwork());
  });
});

describe('the commands of tc', () => {
  const device = { name: 'nic', namespace: 'gw-1', mtu: 1500 };
  const text = (shape: NetworkShape, addresses = new Map<string, string>()) => {
    const { setUp, change } = tcCommands(device, shape, addresses);
    return [...setUp, ...change].map((command) => command.join(' '));
  };

  test('shape the egress of the device by payload, frames and headers added', () => {
    expect(wireBytesPerS(125e6, 1500)).toBeCloseTo((125e6 * 1514) / 1448);
    expect(text({ ...unshapedNetwork(), egress: link({ rateBytesPerS: 125e6 }) })).toEqual([
      'tc -n gw-1 qdisc add dev nic root handle 1: htb default 2',
      'tc -n gw-1 class replace dev nic parent 1: classid 1:1 htb rate 1045580110bit ceil 1045580110bit ' +
        'burst 130698 cburst 130698 quantum 65536',
      'tc -n gw-1 class replace dev nic parent 1:1 classid 1:2 htb rate 1045580110bit ceil 1045580110bit ' +
        'burst 130698 cburst 130698 quantum 65536',
      'tc -n gw-1 qdisc replace dev nic parent 1:2 bfifo limit 2500000',
    ]);
  });

  test('lead what comes in to an IFB and match peers there by their source address', () => {
    const shape = {
      ...unshapedNetwork(),
      peers: [{ peer: 'host-2', egress: undefined, ingress: link({ rateBytesPerS: 1e6 }) }],
    };
    const commands = text(shape, new Map([['host-2', '10.0.0.2']]));
    expect(commands).toContain('ip -n gw-1 link add i-nic type ifb');
    expect(commands).toContain(
      'tc -n gw-1 filter add dev i-nic parent 1: protocol ip prio 1 u32 match ip src 10.0.0.2/32 flowid 1:3',
    );
    expect(commands.some((command) => command.includes('dev nic root'))).toBe(false);
  });

  test('guarantee the leaves together no more than the NIC has', () => {
    const peers = [1, 2, 3].map((n) => ({
      peer: `host-${n}`,
      egress: link({ rateBytesPerS: 1e9 }),
      ingress: undefined,
    }));
    const addresses = new Map(peers.map(({ peer }, index) => [peer, `10.0.0.${index + 1}`]));
    const commands = text({ ...unshapedNetwork(), egress: link({ rateBytesPerS: 1e8 }), peers }, addresses);
    const rates = commands.flatMap(
      (command) => /parent 1:1 .* rate (\d+)bit ceil (\d+)bit/.exec(command)?.slice(1) ?? [],
    );
    const guaranteed = rates.filter((_, index) => index % 2 === 0).map(Number);
    const nic = wireBytesPerS(1e8, 1500) * 8;
    expect(guaranteed.length).toBe(4);
    expect(guaranteed.reduce((sum, rate) => sum + rate, 0)).toBeLessThanOrEqual(nic + 4);
    expect(rates.map(Number).every((rate) => rate <= nic + 1)).toBe(true);
  });

  test('give delay, jitter and loss to netem, with room for what is on its way', () => {
    const shape = {
      ...unshapedNetwork(),
      egress: link({ rateBytesPerS: 12_500_000, delayMs: 40, jitterMs: 5, loss: 0.001 }),
    };
    expect(text(shape).at(-1)).toBe(
      'tc -n gw-1 qdisc replace dev nic parent 1:2 netem limit 1000 delay 40ms 5ms loss 0.1%',
    );
    const fast = { ...shape, egress: { ...shape.egress, rateBytesPerS: 125e6 } };
    expect(text(fast).at(-1)).toContain('netem limit 5612 delay 40ms');
  });

  test('change nothing but numbers between shapes of one layout', () => {
    const at = (rateBytesPerS: number) => ({ ...unshapedNetwork(), egress: link({ rateBytesPerS }) });
    const [slow, fast] = [tcCommands(device, at(1e6), new Map()), tcCommands(device, at(2e6), new Map())];
    expect(slow.layout).toBe(fast.layout);
    expect(slow.layout).not.toBe(tcCommands(device, unshapedNetwork(), new Map()).layout);
    expect(fast.change.every((command) => command.includes('replace'))).toBe(true);
  });

  test('refuse a peer without an address, and take everything away again', () => {
    const peers = [{ peer: 'host-2', egress: link({ delayMs: 1 }), ingress: undefined }];
    expect(() => text({ ...unshapedNetwork(), peers })).toThrow('the address of host-2 is not known');
    expect(tcRemoveCommands(device).map((command) => command.join(' '))).toEqual([
      'tc -n gw-1 qdisc del dev nic root',
      'tc -n gw-1 qdisc del dev nic ingress',
      'ip -n gw-1 link del i-nic',
    ]);
  });
});
