/** `godwit up`: a coordinator and hosts on this machine that stay until Ctrl-C, to be used by hand. */
import { totalmem } from 'node:os';
import { type Command, Option } from 'commander';
import type { Fabric } from '../../fabric/fabric.ts';
import { startFabric } from '../../fabric/start-fabric.ts';
import { GUEST_LIMITS } from '../../proto/guest-spec.ts';
import { FABRICS, type FabricKind, SPEC_LIMITS } from '../../spec/schema.ts';
import { UsageError } from '../exit.ts';
import { catchInterrupts, stayUntil } from '../interrupts.ts';
import { address, DEFAULT_COORDINATOR, LEASE_MS, memorySize, wholeNumber } from '../options.ts';
import { printJson } from '../render/json.ts';
import { bytesText } from '../render/measures.ts';

/** What all hosts together may give to guests, of the machine's memory. */
const MEMORY_SHARE = 0.75;

const EXAMPLES = `
Examples:
  godwit up
  godwit up --hosts 3 --memory 2GiB --listen 127.0.0.1:0 --state testbed.db
  godwit up --fabric netns --hosts 10`;

interface UpOptions {
  readonly fabric: FabricKind;
  readonly hosts: number;
  readonly memory?: number;
  readonly listen?: string;
  readonly state: string;
  readonly json: boolean;
}

export function addUp(program: Command): void {
  program
    .command('up')
    .description('start a testbed that stays until Ctrl-C')
    .addOption(
      new Option('--fabric <kind>', 'where hosts run: as processes, or each in a network namespace, for root')
        .default(FABRICS[0])
        .choices(FABRICS),
    )
    .addOption(
      new Option('--hosts <count>', 'how many hosts')
        .default(SPEC_LIMITS.hostsMin)
        .argParser(wholeNumber(1, SPEC_LIMITS.hostsMax)),
    )
    .option(
      '--memory <size>',
      "for the guests of each host (default: its part of three quarters of the machine's)",
      memorySize(GUEST_LIMITS.memoryBytesMin),
    )
    .option(
      '--listen <address>',
      `where the coordinator listens; port 0 for any free one (default: ${DEFAULT_COORDINATOR})`,
      address,
    )
    .option('--state <file>', 'keep who owns which guest in this file', ':memory:')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(up);
}

async function up({ fabric: kind, hosts, memory, listen, state, json }: UpOptions): Promise<void> {
  if (kind === 'netns' && listen !== undefined) {
    throw new UsageError('--listen: in namespaces the coordinator answers on a socket that it names itself');
  }
  const interrupted = catchInterrupts();
  const failed = new AbortController();
  const memoryBytesPerHost = memory ?? Math.floor((totalmem() * MEMORY_SHARE) / hosts);
  const fabric = await startFabric(kind, {
    hostCount: hosts,
    memoryBytesPerHost,
    stateFile: state,
    leaseMs: LEASE_MS,
    listen: listen ?? DEFAULT_COORDINATOR,
    signal: interrupted,
    died: (part, what) => {
      process.stderr.write(`${what}\n`);
      if (part === 'coordinator') failed.abort(new Error('the coordinator is gone: the testbed is ended'));
    },
  });
  try {
    if (json) printJson({ coordinator: fabric.coordinatorAddress, hosts: fabric.hosts() }, 'line');
    else console.log(welcome(fabric, memoryBytesPerHost));
    const end = AbortSignal.any([interrupted, failed.signal]);
    if (!end.aborted) await stayUntil(end);
    end.throwIfAborted();
  } finally {
    await fabric.close();
  }
}

function welcome(fabric: Fabric, memoryBytesPerHost: number): string {
  const where = fabric.coordinatorAddress;
  const names = fabric.hosts().map(({ name }) => name);
  const other = where === DEFAULT_COORDINATOR ? '' : `export GODWIT_COORDINATOR=${where}\n  `;
  const hosts = `${names.join(', ')} with ${bytesText(memoryBytesPerHost)} each`;
  return `The testbed is up: the coordinator at ${where}, ${hosts}.

In another terminal:
  ${other}godwit create web --memory 64MiB --workload uniform --rate '2000 pages/s'
  godwit guests
  godwit migrate web
  godwit watch

Ctrl-C ends it.`;
}
