/**
 * tc in real network namespaces: the shape stands in the kernel, a probe passes it, and everything is gone
 * afterwards. Needs root; without it the tests are skipped and say why.
 */

import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { kernelFeatures } from '../../hosts/network/kernel-features.ts';
import { run } from '../../hosts/network/run-command.ts';
import { TcShaper, tcDevice } from '../../hosts/network/tc.ts';
import type { LinkShape, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK, unshapedNetwork } from '../../proto/network-shape.ts';
import { endAllProcesses, StartedProcess } from '../support/processes.ts';

const kernel = await kernelFeatures();
const needed = ['namespaces', 'permitted', 'htb', 'ifb', 'redirect'] as const;
const missing = needed.flatMap((feature) => (kernel[feature] ? [] : [kernel.missing[feature]]))[0];
const about = missing === undefined ? '' : ` (skipped, this machine cannot: ${missing})`;

const source = { namespace: `gwtest-s${process.pid}`, address: '10.254.77.1' };
const destination = { namespace: `gwtest-d${process.pid}`, address: '10.254.77.2' };
const link = (changes: Partial<LinkShape>): LinkShape => ({ ...UNSHAPED_LINK, ...changes });

async function makeNamespaces(): Promise<void> {
  for (const { namespace } of [source, destination]) await run(['ip', 'netns', 'add', namespace]);
  const pair = ['type', 'veth', 'peer', 'name', 'nic', 'netns', destination.namespace];
  await run(['ip', 'link', 'add', 'nic', 'netns', source.namespace, ...pair]);
  for (const { namespace, address } of [source, destination]) {
    await run(['ip', '-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'nic']);
    await run(['ip', '-n', namespace, 'link', 'set', 'nic', 'up']);
  }
}

afterEach(async () => {
  await endAllProcesses();
  for (const { namespace } of [source, destination]) {
    // It may not be there: then there is nothing to remove.
    await run(['ip', 'netns', 'del', namespace]).catch(() => {});
  }
});

async function qdiscs(): Promise<string> {
  return run(['tc', '-n', source.namespace, 'qdisc', 'show', 'dev', 'nic']);
}

describe.skipIf(missing !== undefined)(`tc between namespaces${about}`, () => {
  test('shapes both directions and one peer, changes the rate in place, and removes all of it', async () => {
    await makeNamespaces();
    const before = await qdiscs();
    const shaper = new TcShaper(await tcDevice('nic', source.namespace));
    const shape = (rateBytesPerS: number): NetworkShape => ({
      egress: link({ rateBytesPerS }),
      ingress: link({ rateBytesPerS }),
      peers: [{ peer: 'far', egress: link({ rateBytesPerS: 1e6 }), ingress: undefined }],
    });
    const addresses = new Map([['far', destination.address]]);
    const classes = (device: string) => run(['tc', '-n', source.namespace, 'class', 'show', 'dev', device]);
    await shaper.setShape(shape(1e7), addresses);
    expect(await classes('nic')).toContain('class htb 1:3 parent 1:1');
    const rootBefore = /qdisc htb 1: .*/.exec(await qdiscs())?.[0];
    await shaper.setShape(shape(2e7), addresses);
    expect(/qdisc htb 1: .*/.exec(await qdiscs())?.[0]).toBe(rootBefore);
    // 2e7 bytes/s of payload on the wire.
    expect(await classes('i-nic')).toMatch(
      /class htb 1:1 root rate 167\d*Kbit|class htb 1:1 root rate 167Mbit/,
    );
    await shaper.remove();
    expect(await qdiscs()).toBe(before);
    expect(await run(['ip', '-n', source.namespace, 'link', 'show'])).not.toContain('i-nic');
    await shaper.remove();
  });

  test('says the command and the kernel’s answer when it refuses, and leaves nothing', async () => {
    await makeNamespaces();
    const before = await qdiscs();
    const shaper = new TcShaper({ name: 'nic', namespace: source.namespace, mtu: 1500 });
    const impossible = { ...unshapedNetwork(), egress: link({ rateBytesPerS: 1e6, delayMs: 5 }) };
    if (!kernel.netem) {
      await expect(shaper.setShape(impossible, new Map())).rejects.toThrow(
        /tc -n \S+ qdisc replace dev nic parent 1:2 netem .*: .*unknown/,
      );
      expect(await qdiscs()).toBe(before);
    }
    const absent = new TcShaper({ name: 'none', namespace: source.namespace, mtu: 1500 });
    const egress = { ...unshapedNetwork(), egress: link({ rateBytesPerS: 1e6 }) };
    await expect(absent.setShape(egress, new Map())).rejects.toThrow(
      /tc -n \S+ qdisc add dev none .*Cannot find/,
    );
  });

  test('finds out what the kernel offers with NET_ADMIN alone, and leaves no device', async () => {
    await makeNamespaces();
    const devices = async () => {
      const links = await run(['ip', '-n', source.namespace, '-j', 'link']);
      return (JSON.parse(links) as { ifname: string }[]).map(({ ifname }) => ifname);
    };
    const before = await devices();
    const features = new URL('../../hosts/network/kernel-features.ts', import.meta.url);
    const script =
      `import { kernelFeatures } from '${features.href}'; ` +
      'process.stdout.write(JSON.stringify(await kernelFeatures()));';
    const child = new StartedProcess('ip', [
      ...['netns', 'exec', source.namespace],
      ...['setpriv', '--inh-caps=-all', '--bounding-set=-all,+net_admin'],
      ...[process.execPath, '--input-type=module', '--eval', script],
    ]);
    expect((await child.end()).code, child.describe()).toBe(0);
    const { missing: _, ...found } = kernel;
    expect(JSON.parse(child.stdout)).toMatchObject({ ...found, namespaces: false });
    expect(await devices()).toEqual(before);
  });

  test('is taken away by godwit clean, and so is what a killed trial left', async () => {
    await makeNamespaces();
    const before = await qdiscs();
    const shaper = new TcShaper(await tcDevice('nic', source.namespace));
    await shaper.setShape({ ...unshapedNetwork(), egress: link({ rateBytesPerS: 1e6 }) }, new Map());
    // No process has such a pid: it is above the most that Linux gives.
    const left = 'gw-9999999-a';
    const pair = ['type', 'veth', 'peer', 'name', 'gw-9999999-b'];
    await run(['ip', '-n', source.namespace, 'link', 'add', left, ...pair]);
    const cli = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
    const clean = new StartedProcess('ip', [
      ...['netns', 'exec', source.namespace, process.execPath, cli],
      ...['clean', '--device', 'nic', '--json'],
    ]);
    expect((await clean.end()).code, clean.describe()).toBe(0);
    expect((JSON.parse(clean.stdout) as { removed: string[] }).removed).toContain(left);
    expect(await qdiscs()).toBe(before);
    expect(await run(['ip', '-n', source.namespace, 'link', 'show'])).not.toContain('gw-9999999');
  });

  test('leads a probe that comes in through the IFB', async () => {
    await makeNamespaces();
    const rateBytesPerS = 2_500_000;
    const shaper = new TcShaper(await tcDevice('nic', destination.namespace));
    await shaper.setShape({ ...unshapedNetwork(), ingress: link({ rateBytesPerS }) }, new Map());
    const probe = fileURLToPath(new URL('../../bench/probe-process.ts', import.meta.url));
    const inside = (namespace: string, ...args: string[]): StartedProcess =>
      new StartedProcess('ip', ['netns', 'exec', namespace, process.execPath, probe, ...args]);
    const server = inside(destination.namespace, 'serve', destination.address, 'token');
    const [port] = await server.prints(/\d+/);
    const request = {
      address: destination.address,
      port: Number(port),
      token: 'token',
      roundTripCount: 3,
      warmUpMs: 300,
      measureMs: 500,
    };
    const client = inside(source.namespace, 'run', JSON.stringify(request));
    expect((await client.end()).code, client.describe()).toBe(0);
    const result = JSON.parse(client.stdout) as { rateBytesPerS: number; receivedBytes: number };
    expect(result.receivedBytes).toBeGreaterThan(0);
    const sent = await run(['tc', '-s', '-n', destination.namespace, 'class', 'show', 'dev', 'i-nic']);
    // The link has passed at least what the probe counted: the probe went through it, and not around.
    expect(Number(/Sent (\d+) bytes/.exec(sent)?.[1])).toBeGreaterThan(result.receivedBytes);
  });
});
