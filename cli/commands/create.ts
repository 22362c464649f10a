/** `godwit create`: makes a guest on a testbed. */
import { type Command, Option } from 'commander';
import type { GuestNetwork, GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { DEFAULT_ANNOUNCE, DEFAULT_GUEST_PORT, guestNetworkProblems } from '../../proto/guest-network.ts';
import { loadSpec } from '../../spec/parse-spec.ts';
import { UsageError } from '../exit.ts';
import { addGuestFlags, guestFlagGiven, guestFromFlags } from '../flags-to-spec.ts';
import {
  address,
  entityName,
  PORT_MAX,
  type TestbedOptions,
  wholeNumber,
  withClient,
  withTestbed,
} from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Everything has a default: 256MiB, one vCPU, idle. A guest that clients outside are to reach runs kv or web; with no
--rate it does only what they ask.

Examples:
  godwit create web
  godwit create web --memory 64MiB --workload hot-cold --rate '5000 pages/s' --working-set 8MiB --hot 0.9
  godwit create db --host host-2 --workload kv --rate '2000 ops/s' --read 0.9
  godwit create web --spec experiments/quickstart.yaml
  godwit create db --workload kv --forwarder 127.0.0.1:7080 --token 0123456789abcdef`;

interface CreateOptions extends TestbedOptions {
  readonly host?: string;
  readonly spec?: string;
  readonly forwarder?: string;
  readonly token?: string;
  readonly address?: string;
  readonly port?: number;
}

export function addCreate(program: Command): void {
  const command = program
    .command('create')
    .description('make a guest')
    .argument('<guest>', 'its name', entityName)
    .option('--host <host>', 'where (default: the host with the most room)', entityName)
    .option('--spec <file>', 'take the guest of an experiment spec')
    .option(
      '--forwarder <address>',
      'a forwarder keeps an address for it, as `godwit forward` prints it',
      address,
    )
    .option('--token <token>', 'what the host has to say to the forwarder')
    .addOption(
      new Option('--address <ipv4>', "the guest's own address, which moves with it").conflicts('forwarder'),
    )
    .option('--port <number>', '--address: where it answers', wholeNumber(1, PORT_MAX), DEFAULT_GUEST_PORT);
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
  const network = guestNetwork(options);
  const spec = { ...specWithoutNetwork(name, options, network !== undefined), network };
  const problems = guestNetworkProblems(spec);
  if (problems.length > 0) throw new UsageError(problems.join('\n'));
  return spec;
}

/** How clients reach the guest, if they are to. */
function guestNetwork({ forwarder, token, address: own, port }: CreateOptions): GuestNetwork | undefined {
  if (forwarder === undefined && own === undefined) return undefined;
  return {
    address: own ?? '',
    port: own === undefined ? 0 : (port ?? DEFAULT_GUEST_PORT),
    forwarder: forwarder ?? '',
    token: token ?? '',
    announce: DEFAULT_ANNOUNCE,
  };
}

function specWithoutNetwork(name: string, options: CreateOptions, hasClients: boolean): GuestSpec {
  const values = { ...options };
  if (options.spec === undefined) return guestFromFlags(name, values, hasClients);
  const flag = guestFlagGiven(values);
  if (flag !== undefined) {
    throw new UsageError(`${flag} and --spec cannot both say what the guest is; leave one of them out`);
  }
  return { ...loadSpec(options.spec).guest, name };
}
