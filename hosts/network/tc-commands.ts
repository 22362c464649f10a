/**
 * A shape as commands for tc(8) and ip(8). Pure: what is said here is what is run, and what an error names.
 *
 * A direction becomes an HTB root with one class for the NIC and, below it, one leaf for each peer with a
 * shape of its own and one for all the others. Ingress is shaped as the egress of an IFB to which everything
 * that comes in is led.
 */

import { isIPv4 } from 'node:net';
import type { LinkShape, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { isUnshaped, UNSHAPED_LINK } from '../../proto/network-shape.ts';
import { DEVICE_NAME_CHARACTERS_MAX, QUEUE_MS, TC_BURST_MS, TC_UNLIMITED_BYTES_PER_S } from './limits.ts';
import { pathBudget } from './path-budget.ts';

export type Command = readonly string[];

export interface TcDevice {
  readonly name: string;
  /** The network namespace that the device is in; without one it is this process's. */
  readonly namespace?: string;
  readonly mtu: number;
}

/** What of a shape is set up once, and what may be changed while packets pass. */
export interface TcCommands {
  readonly setUp: readonly Command[];
  readonly change: readonly Command[];
  /** Two shapes with the same layout differ only in their numbers: `change` leads from one to the other. */
  readonly layout: string;
}

const ETHERNET_BYTES = 14;
/** IPv4, TCP, and TCP's timestamps. */
const HEADER_BYTES = 20 + 20 + 12;
/** A segment that the kernel has not cut yet, and so the least that HTB can hand out fairly. */
const QUANTUM_BYTES = 65_536;
const BURST_BYTES_MIN = 16 * 1024;
const FIFO_BYTES_MIN = 256 * 1024;
const NETEM_PACKETS_MIN = 1_000;
const DEFAULT_MINOR = 2;

/**
 * HTB counts whole frames, also those of a segment that is cut later; a rate here is TCP payload, as in the
 * relay. At an MTU of 1500 a frame of 1514 bytes carries 1448.
 */
export function wireBytesPerS(rateBytesPerS: number, mtu: number): number {
  return (rateBytesPerS * (mtu + ETHERNET_BYTES)) / (mtu - HEADER_BYTES);
}

/** The IFB that stands for a device's ingress. */
export function ingressDeviceName(device: string): string {
  return `i-${device}`.slice(0, DEVICE_NAME_CHARACTERS_MAX);
}

/**
 * The commands that give a device a shape.
 *
 * @param addresses the IPv4 address of each peer that has a shape of its own
 * @throws Error when a peer has no address
 */
export function tcCommands(
  device: TcDevice,
  shape: NetworkShape,
  addresses: ReadonlyMap<string, string>,
): TcCommands {
  const egress = linkTree(shape, 'egress', addresses);
  const ingress = linkTree(shape, 'ingress', addresses);
  const ifb = ingressDeviceName(device.name);
  const setUp: Command[] = [];
  const change: Command[] = [];
  if (egress !== undefined) {
    setUp.push(...rootCommands(device, device.name));
    change.push(...classCommands(device, device.name, egress));
    setUp.push(...filterCommands(device, device.name, egress, 'dst'));
  }
  if (ingress !== undefined) {
    setUp.push(
      ip(device, 'link', 'add', ifb, 'type', 'ifb'),
      ip(device, 'link', 'set', ifb, 'mtu', String(device.mtu), 'up'),
      ...rootCommands(device, ifb),
      ...filterCommands(device, ifb, ingress, 'src'),
      tc(device, 'qdisc', 'add', 'dev', device.name, 'handle', 'ffff:', 'ingress'),
      tc(
        device,
        ...`filter add dev ${device.name} parent ffff: protocol all prio 1 u32 match u32 0 0`.split(' '),
        ...`action mirred egress redirect dev ${ifb}`.split(' '),
      ),
    );
    change.push(...classCommands(device, ifb, ingress));
  }
  const layout = JSON.stringify([egress, ingress].map((tree) => tree?.peers.map(({ address }) => address)));
  return { setUp, change, layout };
}

/** The commands that take away what `tcCommands` made; each may find that there is nothing. */
export function tcRemoveCommands(device: TcDevice): Command[] {
  return [
    tc(device, 'qdisc', 'del', 'dev', device.name, 'root'),
    tc(device, 'qdisc', 'del', 'dev', device.name, 'ingress'),
    ip(device, 'link', 'del', ingressDeviceName(device.name)),
  ];
}

interface PeerLink {
  readonly address: string;
  readonly link: LinkShape;
}

interface LinkTree {
  readonly nic: LinkShape;
  readonly peers: readonly PeerLink[];
}

/** What one direction has to shape, or undefined when that is nothing. */
function linkTree(
  shape: NetworkShape,
  direction: 'egress' | 'ingress',
  addresses: ReadonlyMap<string, string>,
): LinkTree | undefined {
  const nic = shape[direction] ?? UNSHAPED_LINK;
  const peers: PeerLink[] = [];
  for (const peer of shape.peers) {
    const link = peer[direction] ?? UNSHAPED_LINK;
    if (isUnshaped(link)) continue;
    const address = addresses.get(peer.peer);
    if (address === undefined || !isIPv4(address)) {
      throw new Error(
        `the address of ${peer.peer} is ${address ?? 'not known'}; ` +
          `tc needs its IPv4 address to shape the ${direction}`,
      );
    }
    peers.push({ address, link });
  }
  return isUnshaped(nic) && peers.length === 0 ? undefined : { nic, peers };
}

function rootCommands(device: TcDevice, on: string): Command[] {
  return [tc(device, ...`qdisc add dev ${on} root handle 1: htb default ${DEFAULT_MINOR}`.split(' '))];
}

function filterCommands(device: TcDevice, on: string, tree: LinkTree, match: 'src' | 'dst'): Command[] {
  return tree.peers.map(({ address }, index) =>
    tc(
      device,
      ...`filter add dev ${on} parent 1: protocol ip prio 1 u32`.split(' '),
      ...`match ip ${match} ${address}/32 flowid 1:${peerMinor(index)}`.split(' '),
    ),
  );
}

function classCommands(device: TcDevice, on: string, { nic, peers }: LinkTree): Command[] {
  const wire = (rateBytesPerS: number) =>
    rateBytesPerS === 0 ? TC_UNLIMITED_BYTES_PER_S : wireBytesPerS(rateBytesPerS, device.mtu);
  const nicRate = wire(nic.rateBytesPerS);
  // A leaf may always send at its own rate, whatever its parent's: together the leaves must not have more
  // than the parent.
  const share = nicRate / (peers.length + 1);
  const commands = [classCommand(device, on, ['parent', '1:', 'classid', '1:1'], nicRate, nicRate, nic)];
  const leaf = (minor: string, ceiling: number, link: LinkShape, links: readonly LinkShape[]) => {
    const at = ['parent', '1:1', 'classid', `1:${minor}`];
    commands.push(
      classCommand(device, on, at, Math.min(share, ceiling), ceiling, link),
      tc(device, 'qdisc', 'replace', 'dev', on, 'parent', `1:${minor}`, ...leafQdisc(links)),
    );
  };
  leaf(String(DEFAULT_MINOR), nicRate, nic, [nic]);
  for (const [index, { link }] of peers.entries()) {
    leaf(peerMinor(index), Math.min(nicRate, wire(link.rateBytesPerS)), link, [nic, link]);
  }
  return commands;
}

function classCommand(
  device: TcDevice,
  on: string,
  at: readonly string[],
  rateBytesPerS: number,
  ceilingBytesPerS: number,
  link: LinkShape,
): Command {
  const burst =
    link.burstBytes || Math.round(Math.max(BURST_BYTES_MIN, (ceilingBytesPerS * TC_BURST_MS) / 1000));
  return tc(
    device,
    ...['class', 'replace', 'dev', on, ...at, 'htb'],
    ...['rate', bits(rateBytesPerS), 'ceil', bits(ceilingBytesPerS)],
    ...['burst', String(burst), 'cburst', String(burst), 'quantum', String(QUANTUM_BYTES)],
  );
}

/**
 * What holds a leaf's packets: netem when there is something only it can do, else a queue of so many bytes.
 */
function leafQdisc(links: readonly LinkShape[]): string[] {
  const { delayMs, jitterMs, rateBytesPerS } = pathBudget(links);
  const passed = links.reduce((share, { loss }) => share * (1 - loss), 1);
  const given = Math.min(...links.map(({ queueBytes }) => queueBytes || Number.POSITIVE_INFINITY));
  const rate = rateBytesPerS || TC_UNLIMITED_BYTES_PER_S;
  const queueBytes =
    given < Number.POSITIVE_INFINITY ? given : Math.max(FIFO_BYTES_MIN, (rate * QUEUE_MS) / 1000);
  if (delayMs === 0 && passed === 1) return ['bfifo', 'limit', String(Math.round(queueBytes))];
  const flightBytes = given < Number.POSITIVE_INFINITY ? 0 : (rate * (delayMs + jitterMs)) / 1000;
  const packets = Math.max(NETEM_PACKETS_MIN, Math.ceil((queueBytes + flightBytes) / 1448));
  const words = ['netem', 'limit', String(packets)];
  if (delayMs > 0) words.push('delay', `${delayMs}ms`, ...(jitterMs > 0 ? [`${jitterMs}ms`] : []));
  if (passed < 1) words.push('loss', `${Number(((1 - passed) * 100).toFixed(6))}%`);
  return words;
}

/** Minor numbers are hexadecimal; 1 is the NIC's class. */
function peerMinor(index: number): string {
  return (DEFAULT_MINOR + 1 + index).toString(16);
}

function bits(bytesPerS: number): string {
  return `${Math.round(bytesPerS * 8)}bit`;
}

function tc({ namespace }: TcDevice, ...words: string[]): Command {
  return ['tc', ...(namespace === undefined ? [] : ['-n', namespace]), ...words];
}

function ip({ namespace }: TcDevice, ...words: string[]): Command {
  return ['ip', ...(namespace === undefined ? [] : ['-n', namespace]), ...words];
}
