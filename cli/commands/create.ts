/** `godwit create`: makes a guest on a testbed. */
import type { Command } from 'commander';
import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { loadSpec } from '../../spec/parse-spec.ts';
import { UsageError } from '../exit.ts';
import { addGuestFlags, guestFlagGiven, guestFromFlags } from '../flags-to-spec.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Everything has a default: 256MiB, one vCPU, idle.

Examples:
  godwit create web
  godwit create web --memory 64MiB --workload hot-cold --rate '5000 pages/s' --working-set 8MiB --hot 0.9
  godwit create db --host host-2 --workload kv --rate '2000 ops/s' --read 0.9
  godwit create web --spec experiments/quickstart.yaml`;

interface CreateOptions extends TestbedOptions {
  readonly host?: string;
  readonly spec?: string;
}

export function addCreate(program: Command): void {
  const command = program
    .command('create')
    .description('make a guest')
    .argument('<guest>', 'its name', entityName)
    .option('--host <host>', 'where (default: the host with the most room)', entityName)
    .option('--spec <file>', 'take the guest of an experiment spec');
  withTestbed(addGuestFlags(command)).addHelpText('after', EXAMPLES).action(create);
}

async function create(name: string, options: CreateOptions): Promise<void> {
  const spec = guestSpec(name, options);
  const host = await withClient(options.coordinator, (client) =>
    client.createGuest(spec, options.host ?? ''),
  );
  if (options.json) printJson({ guest: name, host });
  else console.log(`guest ${name} runs on ${host}`);
}

function guestSpec(name: string, options: CreateOptions): GuestSpec {
  const values = { ...options };
  if (options.spec === undefined) return guestFromFlags(name, values);
  const flag = guestFlagGiven(values);
  if (flag !== undefined) {
    throw new UsageError(`${flag} and --spec cannot both say what the guest is; leave one of them out`);
  }
  return { ...loadSpec(options.spec).guest, name };
}
