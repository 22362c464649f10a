/**
 * Where the clients of a testbed's guests are when somebody else has started the testbed, and only the coordinator's
 * address is known: in namespaces the place that the testbed made for them, elsewhere this machine as it is seen on the
 * way to the coordinator.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { errorText } from '../proto/errors.ts';
import { ipv4RangeText, lastPart, parseIpv4Range } from '../proto/ipv4-range.ts';
import type { ClientSide } from './fabric.ts';
import { netnsClientSide } from './netns-fabric.ts';
import { runOfSocket } from './netns-runs.ts';

/**
 * @param coordinatorAddress "address:port", "name:port" or "unix:path"
 * @throws Error when no way leads there
 */
export async function clientSideOf(coordinatorAddress: string): Promise<ClientSide> {
  const run = runOfSocket(coordinatorAddress);
  if (run !== undefined) return netnsClientSide(run);
  const address = await ownAddress(coordinatorAddress);
  const entries = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const own = entries.find((entry) => entry.address === address);
  return { prefix: [], address, guestAddresses: own?.internal ? undefined : rangeFor(own?.cidr ?? '') };
}

function rangeFor(subnet: string): string | undefined {
  const range = parseIpv4Range(subnet);
  const part = range && lastPart(range);
  return part && ipv4RangeText(part);
}

/** The address of this machine that the coordinator sees: the kernel tells it of a socket, which sends nothing. */
async function ownAddress(coordinatorAddress: string): Promise<string> {
  const colon = coordinatorAddress.lastIndexOf(':');
  const socket = createSocket('udp4');
  try {
    socket.connect(Number(coordinatorAddress.slice(colon + 1)), coordinatorAddress.slice(0, colon));
    await once(socket, 'connect', { signal: AbortSignal.timeout(DEADLINES_MS.query) });
    return socket.address().address;
  } catch (error) {
    throw new Error(`no way to the coordinator at ${coordinatorAddress}: ${errorText(error)}`, {
      cause: error,
    });
  } finally {
    socket.close();
  }
}
