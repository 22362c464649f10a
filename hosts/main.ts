/**
 * The host process: its arguments; how it begins and ends is in proto/daemon.ts. It is ready when it is
 * registered, and with --drain a SIGTERM first has its guests moved elsewhere.
 */

import { totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { runDaemon } from '../proto/daemon.ts';
import { durationMs } from '../proto/duration.ts';
import { errorText } from '../proto/errors.ts';
import { nameProblem } from '../proto/names.ts';
import { type Host, type HostSettings, startHost } from './host.ts';
import { NETWORK_BACKENDS } from './host-network.ts';

const USAGE = `usage: node hosts/main.ts --name NAME --coordinator HOST:PORT [--memory BYTES] [--listen HOST:PORT]
  [--data-listen HOST] [--advertise HOST] [--network relay|tc] [--device NAME] [--nic]
  [--drain TIME] [--owned]

  --memory       bytes of memory for guests (default: three quarters of the machine's)
  --listen       where the host's service listens (default 127.0.0.1:0, any free port)
  --data-listen  the address on which migrations listen (default 127.0.0.1)
  --advertise    the name under which others reach this host (default: the addresses above)
  --network      who makes the shapes of its links: relay (default; needs nothing), or tc and the kernel, with the
                 relay for what that lacks (NET_ADMIN)
  --device       the device that tc shapes (default eth0)
  --nic          lead all traffic through the relay, so that a fault can be set at any time
  --drain        at SIGTERM, have the guests moved to other hosts, for at most so long, in ms or s; what cannot be
                 moved is paused and named (default 0: end at once, with the guests). A second signal ends at once
  --owned        end when stdin ends`;

/** Who stops a host has hardly more patience than that. */
const DRAIN_MS_MAX = 3_600_000;

function usageError(problem: string): never {
  process.stderr.write(`godwit host: ${problem}\n${USAGE}\n`);
  process.exit(2);
}

interface ProcessSettings extends HostSettings {
  /** How long the guests' moves are waited for at SIGTERM; 0: they are not moved. */
  readonly drainMs: number;
  readonly isOwned: boolean;
}

function readDrainMs(text: string): number {
  const drainMs = text === '0' ? 0 : durationMs(text);
  if (drainMs !== undefined && drainMs <= DRAIN_MS_MAX) return drainMs;
  return usageError(`--drain ${text}: expected 0 or a time to ${DRAIN_MS_MAX / 1000}s, such as 40s`);
}

function readSettings(): ProcessSettings {
  const options = {
    name: { type: 'string' },
    coordinator: { type: 'string' },
    memory: { type: 'string', default: String(Math.floor(totalmem() * 0.75)) },
    listen: { type: 'string', default: '127.0.0.1:0' },
    'data-listen': { type: 'string', default: '127.0.0.1' },
    advertise: { type: 'string' },
    network: { type: 'string', default: 'relay' },
    device: { type: 'string', default: 'eth0' },
    nic: { type: 'boolean', default: false },
    drain: { type: 'string', default: '0' },
    owned: { type: 'boolean', default: false },
  } as const;
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    usageError(errorText(error));
  }
  const { name, coordinator, advertise } = values;
  if (name === undefined || coordinator === undefined) usageError('--name and --coordinator are needed');
  const problem = nameProblem(name);
  if (problem !== undefined) usageError(`--name: ${problem}`);
  const capacityBytes = Number(values.memory);
  if (!Number.isSafeInteger(capacityBytes) || capacityBytes <= 0) {
    usageError(`--memory ${values.memory}: expected a whole number of bytes, such as 4294967296`);
  }
  const networkBackend = NETWORK_BACKENDS.find((backend) => backend === values.network);
  if (networkBackend === undefined) {
    usageError(`--network ${values.network}: expected ${NETWORK_BACKENDS.join(' or ')}`);
  }
  return {
    name,
    coordinator,
    capacityBytes,
    listen: values.listen,
    dataListen: values['data-listen'],
    ...(advertise === undefined ? {} : { advertise }),
    networkBackend,
    device: values.device,
    alwaysNic: values.nic,
    drainMs: readDrainMs(values.drain),
    isOwned: values.owned,
  };
}

async function drain(host: Host, drainMs: number): Promise<void> {
  for (const { guest, reason } of await host.drain(drainMs)) {
    process.stderr.write(`godwit host: guest "${guest}" could not be moved and is parked: ${reason}\n`);
  }
}

const { drainMs, isOwned, ...settings } = readSettings();
const drainFirst = (host: Host, signal: NodeJS.Signals): Promise<void> =>
  signal === 'SIGTERM' ? drain(host, drainMs) : Promise.resolve();
await runDaemon({
  name: 'host',
  isOwned,
  start: () => startHost(settings),
  beforeEnd: drainMs > 0 ? drainFirst : undefined,
});
