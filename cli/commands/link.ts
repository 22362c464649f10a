/** `godwit link`: the shape of a host's NIC, and faults on it. */
import { type Command, InvalidArgumentError } from 'commander';
import type { TestbedClient } from '../../experiment/testbed-client.ts';
import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type LinkShape,
  type NetworkShape,
} from '../../proto/generated/godwit/v1/network.ts';
import {
  linkFaultName,
  linksOf,
  NETWORK_LIMITS,
  NO_FAULT,
  networkShapeProblems,
  UNSHAPED_LINK,
  unshapedNetwork,
} from '../../proto/network-shape.ts';
import { changedFields } from '../../spec/network-plan.ts';
import type { LinkKeys } from '../../spec/network-sections.ts';
import { bandwidth, duration, size, type Unit } from '../../spec/units.ts';
import { UsageError } from '../exit.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';
import { bitsText, bytesText, durationText } from '../render/measures.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
Without a flag it prints the host's links. Shapes change the given values of egress and ingress, or, with
--to, of the way to that host; they hold until --unshape. Migrations that began on an unshaped host go past
its NIC: a fault would not reach them and is refused; give the host a shape before, an unlimited one will do.

Examples:
  godwit link host-1
  godwit link host-1 --rate 1gbit --delay 5ms --jitter 1ms
  godwit link host-1 --to host-2 --rate 100mbit --delay 40ms
  godwit link host-1 --rate unlimited
  godwit link host-1 --unshape
  godwit link host-1 --cut
  godwit link host-1 --stall 2s
  godwit link host-1 --half-open egress
  godwit link host-1 --reset
  godwit link host-1 --heal`;

interface LinkOptions extends TestbedOptions, LinkKeys {
  readonly to?: string;
  readonly unshape?: true;
  readonly cut?: true;
  readonly reset?: true;
  readonly heal?: true;
  readonly stall?: number;
  readonly halfOpen?: LinkDirection;
  readonly slowClose?: number;
}

export function addLink(program: Command): void {
  const command = program
    .command('link')
    .description("shape or break a host's network, or show it")
    .argument('<host>', 'its name', entityName)
    .option('--rate <bandwidth>', 'what it carries', quantity(bandwidth))
    .option('--delay <time>', 'one way', quantity(duration))
    .option('--jitter <time>', 'around the delay', quantity(duration))
    .option('--loss <share>', 'share of packets that are lost (tc with netem)', lossShare)
    .option('--burst <size>', 'what an idle link lets through at once', quantity(size))
    .option('--queue <size>', 'what waits or is on its way', quantity(size))
    .option('--to <host>', 'only the traffic with this host', entityName)
    .option('--unshape', 'take every shape away')
    .option('--cut', 'nothing passes any more; connections stay')
    .option('--stall <time>', 'nothing passes for this time', quantity(duration))
    .option('--half-open <direction>', 'nothing passes in one direction, egress or ingress', direction)
    .option('--reset', 'reset all connections now')
    .option('--slow-close <time>', 'tell the end of connections this much late', quantity(duration))
    .option('--heal', 'end the fault');
  withTestbed(command).addHelpText('after', EXAMPLES).action(link);
}

async function link(host: string, options: LinkOptions): Promise<void> {
  const fault = faultOf(options);
  const fields = changedFields(options);
  const change = Object.keys(fields).length === 0 ? undefined : fields;
  const wanted = [fault, change, options.unshape].filter((each) => each !== undefined);
  if (wanted.length > 1)
    throw new UsageError('a shape, --unshape and a fault cannot be set at the same time');
  await withClient(options.coordinator, async (client) => {
    if (fault !== undefined) await client.setLinkFault(host, fault);
    if (options.unshape === true) await client.setNetwork(host, undefined, false);
    if (change !== undefined) await reshape(client, host, options.to, change);
    const state = await client.network(host);
    if (options.json) printJson(state);
    else console.log(stateText(host, state.shape, state.fault));
  });
}

/** Changes what is said and leaves the rest as it is. */
async function reshape(
  client: TestbedClient,
  host: string,
  to: string | undefined,
  change: Partial<LinkShape>,
): Promise<void> {
  const shape = (await client.network(host)).shape ?? unshapedNetwork();
  const changed = (before: LinkShape | undefined): LinkShape => ({ ...UNSHAPED_LINK, ...before, ...change });
  let after: NetworkShape;
  if (to === undefined) {
    after = { ...shape, egress: changed(shape.egress), ingress: changed(shape.ingress) };
  } else {
    const known = shape.peers.find(({ peer }) => peer === to);
    const peers = shape.peers.filter(({ peer }) => peer !== to);
    peers.push({ peer: to, egress: changed(known?.egress), ingress: known?.ingress });
    after = { ...shape, peers };
  }
  const problems = networkShapeProblems(after);
  if (problems.length > 0) throw new UsageError(problems.join('\n'));
  // By hand a fault may come at any time.
  await client.setNetwork(host, after, true);
}

function faultOf(options: LinkOptions): LinkFault | undefined {
  const { cut, reset, heal, stall, halfOpen, slowClose, to: peer = '' } = options;
  const faults: LinkFault[] = [];
  const add = (kind: LinkFaultKind, more: Partial<LinkFault> = {}) =>
    faults.push({ ...NO_FAULT, kind, peer, ...more });
  if (cut === true) add(LinkFaultKind.LINK_FAULT_KIND_CUT);
  if (reset === true) add(LinkFaultKind.LINK_FAULT_KIND_RESET);
  if (heal === true) add(LinkFaultKind.LINK_FAULT_KIND_NONE);
  if (stall !== undefined) add(LinkFaultKind.LINK_FAULT_KIND_STALL, { durationMs: stall });
  if (slowClose !== undefined) add(LinkFaultKind.LINK_FAULT_KIND_SLOW_CLOSE, { durationMs: slowClose });
  if (halfOpen !== undefined) add(LinkFaultKind.LINK_FAULT_KIND_HALF_OPEN, { direction: halfOpen });
  if (faults.length > 1) throw new UsageError('a NIC has one fault at a time; say one of them');
  return faults[0];
}

function quantity(unit: Unit<number>): (text: string) => number {
  return (text) => {
    const value = unit.parse(text);
    if (value !== undefined) return value;
    throw new InvalidArgumentError(`Allowed is ${unit.allowed}.`);
  };
}

function lossShare(text: string): number {
  const value = Number(text);
  if (text !== '' && value >= 0 && value <= NETWORK_LIMITS.lossMax) return value;
  throw new InvalidArgumentError(`Allowed is a number from 0 to ${NETWORK_LIMITS.lossMax}.`);
}

function direction(text: string): LinkDirection {
  if (text === 'egress') return LinkDirection.LINK_DIRECTION_EGRESS;
  if (text === 'ingress') return LinkDirection.LINK_DIRECTION_INGRESS;
  throw new InvalidArgumentError('Allowed is egress or ingress.');
}

function stateText(host: string, shape: NetworkShape | undefined, fault: LinkFault | undefined): string {
  const heads = ['LINK', 'RATE', 'DELAY', 'JITTER', 'LOSS', 'BURST', 'QUEUE'];
  const links =
    shape === undefined
      ? `${host} has no shape: its connections go directly`
      : tableText(heads, linksOf(shape).map(linkRow), 1);
  const kind = fault?.kind ?? LinkFaultKind.LINK_FAULT_KIND_NONE;
  if (kind === LinkFaultKind.LINK_FAULT_KIND_NONE) return links;
  return `${links}\nfault: ${linkFaultName(kind)}${fault?.peer ? `, traffic with ${fault.peer}` : ''}`;
}

function linkRow([name, shape]: [string, LinkShape]): string[] {
  const { rateBytesPerS, delayMs, jitterMs, loss, burstBytes, queueBytes } = shape;
  return [
    name,
    rateBytesPerS === 0 ? 'unlimited' : bitsText(rateBytesPerS),
    durationText(delayMs),
    durationText(jitterMs),
    String(loss),
    burstBytes === 0 ? 'default' : bytesText(burstBytes),
    queueBytes === 0 ? 'default' : bytesText(queueBytes),
  ];
}
