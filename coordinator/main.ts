/** The coordinator process: its arguments; how it begins and ends is in proto/daemon.ts. */

import { parseArgs } from 'node:util';
import { runDaemon } from '../proto/daemon.ts';
import { durationMs } from '../proto/duration.ts';
import { errorText } from '../proto/errors.ts';
import { type CoordinatorSettings, startCoordinator } from './coordinator.ts';
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

const { isOwned, ...settings } = readSettings();
await runDaemon({ name: 'coordinator', isOwned, start: () => startCoordinator(settings) });
