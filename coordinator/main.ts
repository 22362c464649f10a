/**
 * The coordinator process. Prints one line of JSON when it serves, `{"ready":{"address":"127.0.0.1:40123"}}`,
 * and ends at SIGTERM, at SIGINT, or, with --owned, when its stdin ends because whoever started it is gone.
 */

import { parseArgs } from 'node:util';
import { durationMs } from '../proto/duration.ts';
import { errorText } from '../proto/errors.ts';
import { type Coordinator, type CoordinatorSettings, startCoordinator } from './coordinator.ts';
import { COORDINATOR_LIMITS } from './limits.ts';

const USAGE = `usage: node coordinator/main.ts [--listen HOST:PORT] [--state FILE] [--lease TIME]
  [--socket FILE] [--owned]

  --listen  where the coordinator serves (default 127.0.0.1:0, any free port)
  --state   the file that keeps who owns which guest (default :memory:, which keeps nothing)
  --lease   how long a host counts as alive without a heartbeat, in ms or s (default 10s)
  --socket  a Unix socket to serve on besides, for who is in another network namespace
  --owned   end when stdin ends`;

function usageError(problem: string): never {
  process.stderr.write(`godwit coordinator: ${problem}\n${USAGE}\n`);
  process.exit(2);
}

function readLeaseMs(text: string): number {
  const leaseMs = durationMs(text) ?? Number.NaN;
  const { leaseMsMin, leaseMsMax } = COORDINATOR_LIMITS;
  if (leaseMs >= leaseMsMin && leaseMs <= leaseMsMax) return leaseMs;
  return usageError(`--lease ${text}: expected ${leaseMsMin}ms to ${leaseMsMax / 1000}s, such as 10s`);
}

function readSettings(): CoordinatorSettings & { isOwned: boolean } {
  const options = {
    listen: { type: 'string', default: '127.0.0.1:0' },
    state: { type: 'string', default: ':memory:' },
    lease: { type: 'string', default: '10s' },
    socket: { type: 'string' },
    owned: { type: 'boolean', default: false },
  } as const;
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    return usageError(errorText(error));
  }
  const { listen, state: statePath, socket: socketPath, owned: isOwned } = values;
  if (statePath === '') usageError('--state is empty; name a file, or :memory:');
  return {
    listen,
    statePath,
    leaseMs: readLeaseMs(values.lease),
    ...(socketPath === undefined ? {} : { socketPath }),
    isOwned,
  };
}

function endWith(coordinator: Coordinator): void {
  const end = (): void => {
    coordinator.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`godwit coordinator: ending: ${errorText(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}

const settings = readSettings();
if (settings.isOwned) {
  // Not in order on purpose: whoever started us is gone, and what is on record is on the disk at any moment.
  process.stdin.resume().on('end', () => process.exit(0));
}
try {
  const coordinator = await startCoordinator(settings);
  endWith(coordinator);
  process.stdout.write(`${JSON.stringify({ ready: { address: coordinator.address } })}\n`);
} catch (error) {
  process.stderr.write(`godwit coordinator: ${errorText(error)}\n`);
  process.exit(1);
}
