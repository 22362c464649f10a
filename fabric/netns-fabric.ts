/**
 * The fabric of network namespaces: each host in a namespace of its own, with one device `eth0`, joined by a
 * bridge whose namespace the coordinator shares. Nothing of the machine's own network is touched: even we reach
 * the coordinator through a file, a Unix socket, which knows no namespaces. For root on Linux.
 */
import { readFileSync } from 'node:fs';
import { type ClientSide, type Fabric, type FabricSettings, FabricUnavailableError } from './fabric.ts';
import { type Ground, startLocalFabric } from './local-fabric.ts';
import { NamespaceKeeper } from './namespace-keeper.ts';
import { namespaceName, newRun, removeLeftovers, socketPath } from './netns-runs.ts';

/** Nobody outside of the namespaces sees these, so they cannot collide with an address of the machine. */
const COORDINATOR_IP = '10.0.0.1';
const HOSTS_NETWORK = '10.0.1';
const CLIENT_IP = '10.0.3.1';
const GUEST_ADDRESSES = '10.0.2.0/24';
const PREFIX_BITS = 16;
const BRIDGE = 'br0';
/** A host's own; tc shapes it. */
const DEVICE = 'eth0';
/** The namespace of the bridge and the coordinator. */
const CENTRE = 'net';
/** The namespace of the guests' clients. */
const CLIENT = 'client';
/**
 * What a guest's own address needs of a host: sockets on it before it is there, and a gratuitous ARP when it comes
 * (hosts/guest-nic/guest-address.ts).
 */
const HOST_SETTINGS = ['ip_nonlocal_bind', 'conf/all/arp_notify'];
/** Makes these settings of the namespace that it is in, and then is the command that follows. */
const WITH_SETTINGS = [
  'sh',
  '-c',
  `for setting in ${HOST_SETTINGS.join(' ')}; do echo 1 > /proc/sys/net/ipv4/$setting || exit; done; exec "$@"`,
  'godwit-settings',
];

/** What it takes to make namespaces and devices (capabilities(7)), as bits of a process's capability sets. */
const CAPABILITIES = { NET_ADMIN: 12n, SYS_ADMIN: 21n } as const;

/**
 * Removes what dead runs left behind, makes the namespaces, starts a coordinator and its hosts in them, and
 * waits until all have registered.
 * @throws FabricUnavailableError when this process may not make namespaces; Error with the ip command and its
 * answer; ChildProcessError, or the signal's reason. Whatever had been started has ended then.
 */
export async function startNetnsFabric(settings: FabricSettings): Promise<Fabric> {
  requireRights();
  await removeLeftovers();
  return await startLocalFabric(settings, await makeGround(settings));
}

/** @throws FabricUnavailableError with what is missing. */
function requireRights(): void {
  const missing = missingNamespaceRights();
  if (missing === undefined) return;
  throw new FabricUnavailableError(
    `fabric netns: ${missing}; run it as root, or take fabric: {kind: process}, which needs no rights`,
  );
}

/** Why this process cannot make network namespaces; undefined when it can. */
export function missingNamespaceRights(): string | undefined {
  if (process.platform !== 'linux') return `network namespaces need Linux, and this is ${process.platform}`;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const missing = Object.entries(CAPABILITIES)
    .filter(([, bit]) => ((BigInt(`0x${effective}`) >> bit) & 1n) === 0n)
    .map(([name]) => name);
  if (missing.length === 0) return undefined;
  return `making network namespaces takes root's rights, and this process lacks ${missing.join(' and ')}`;
}

async function makeGround({ hostCount, signal }: FabricSettings): Promise<Ground> {
  const run = newRun();
  const keeper = NamespaceKeeper.start(run);
  try {
    for (const command of setUpCommands(run, hostCount)) {
      signal?.throwIfAborted();
      await keeper.ip(command.split(' '));
    }
  } catch (error) {
    // What was refused is the news, not that the rest could not be taken away either.
    await keeper.close().catch(() => {});
    throw error;
  }
  const within = (part: string): string[] => ['ip', 'netns', 'exec', namespaceName(run, part)];
  const socket = socketPath(run);
  return {
    coordinator: { prefix: within(CENTRE), args: ['--listen', `${COORDINATOR_IP}:0`, '--socket', socket] },
    clientAddress: `unix:${socket}`,
    client: netnsClientSide(run),
    host: (number) => {
      const ip = hostIp(number);
      const args = [
        ...['--listen', `${ip}:0`, '--data-listen', ip, '--advertise', ip],
        ...['--network', 'tc', '--device', DEVICE],
      ];
      return { prefix: [...within(`host-${number}`), ...WITH_SETTINGS], args };
    },
    close: () => keeper.close(),
  };
}

/** Where clients of a run's guests are. */
export function netnsClientSide(run: string): ClientSide {
  const prefix = ['ip', 'netns', 'exec', namespaceName(run, CLIENT)];
  return { prefix, address: CLIENT_IP, guestAddresses: GUEST_ADDRESSES };
}

function hostIp(number: number): string {
  return `${HOSTS_NETWORK}.${number}`;
}

/** The ip commands that make a run's network. */
function setUpCommands(run: string, hostCount: number): string[] {
  const centre = namespaceName(run, CENTRE);
  const commands = [
    `netns add ${centre}`,
    `-n ${centre} link add ${BRIDGE} type bridge`,
    `-n ${centre} address add ${COORDINATOR_IP}/${PREFIX_BITS} dev ${BRIDGE}`,
    `-n ${centre} link set ${BRIDGE} up`,
    `-n ${centre} link set lo up`,
    ...joinCommands(run, CLIENT, CLIENT_IP),
  ];
  for (let number = 1; number <= hostCount; number++) {
    commands.push(...joinCommands(run, `host-${number}`, hostIp(number)));
  }
  return commands;
}

/** The ip commands that make a namespace with a device on the bridge. */
function joinCommands(run: string, part: string, ip: string): string[] {
  const centre = namespaceName(run, CENTRE);
  const namespace = namespaceName(run, part);
  return [
    `netns add ${namespace}`,
    `-n ${namespace} link add ${DEVICE} type veth peer name ${part} netns ${centre}`,
    `-n ${centre} link set ${part} master ${BRIDGE} up`,
    `-n ${namespace} address add ${ip}/${PREFIX_BITS} dev ${DEVICE}`,
    `-n ${namespace} link set ${DEVICE} up`,
    `-n ${namespace} link set lo up`,
  ];
}
