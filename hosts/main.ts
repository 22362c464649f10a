/**
 * The host process. Prints one line of JSON when it is registered, `{"ready":{"address":"127.0.0.1:40123"}}`, and
 * ends at SIGTERM, at SIGINT, or, with --owned, when its stdin ends because whoever started it is gone. With
 * --drain a SIGTERM first has its guests moved elsewhere.
 */

import { flushCompileCache } from 'node:module';
import { totalmem } from 'node:os';
import { parseArgs } from 'node:util';
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
  readonly owned: boolean;
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
    owned: values.owned,
  };
}

async function drain(host: Host, drainMs: number): Promise<void> {
  for (const { guest, reason } of await host.drain(drainMs)) {
    process.stderr.write(`godwit host: guest "${guest}" could not be moved and is parked: ${reason}\n`);
  }
}

function endWith(host: Host, drainMs: number): void {
  let isEnding = false;
  const end = (signal: NodeJS.Signals): void => {
    if (isEnding) {
      // Whoever asks twice does not want to wait for guests; an end without them is never long.
      if (drainMs > 0) process.exit(1);
      return;
    }
    isEnding = true;
    const drained = signal === 'SIGTERM' && drainMs > 0 ? drain(host, drainMs) : Promise.resolve();
    drained
      .then(() => host.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`godwit host: ending: ${errorText(error)}\n`);
          process.exit(1);
        },
      );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}

const settings = readSettings();
if (settings.owned) {
  // Not in order on purpose: whoever started us is gone, and so is everybody who would wait for an orderly end.
  process.stdin.resume().on('end', () => process.exit(0));
}
try {
  const host = await startHost(settings);
  endWith(host, settings.drainMs);
  process.stdout.write(`${JSON.stringify({ ready: { address: host.address } })}\n`);
  // Not only at the end, as Node would: so that the next host finds what this one has compiled.
  flushCompileCache();
} catch (error) {
  process.stderr.write(`godwit host: ${errorText(error)}\n`);
  process.exit(1);
}
