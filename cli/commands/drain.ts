/** `godwit drain`: moves the guests of a host elsewhere, before it is stopped. */
import type { Command } from 'commander';
import type { CoordinatorServiceDrainHostResponse } from '../../proto/generated/godwit/v1/coordinator.ts';
import { EXIT } from '../exit.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
From then on the host takes no guests, neither new ones nor by migration, until --undo or until it is started
again. Its guests are moved by pre-copy, two at a time, each to the host with the most room. The exit code is 1
when one could not be moved; asked again, it is tried again. \`godwit hosts\` shows who is draining.

Examples:
  godwit drain host-2
  godwit drain host-2 --undo`;

interface DrainOptions extends TestbedOptions {
  readonly undo: boolean;
}

export function addDrain(program: Command): void {
  const command = program
    .command('drain')
    .description('move the guests of a host elsewhere, and give it no others')
    .argument('<host>', 'its name', entityName)
    .option('--undo', 'let it take guests again', false);
  withTestbed(command)
    .addHelpText('after', EXAMPLES)
    .action((host: string, options: DrainOptions) =>
      options.undo ? undrain(host, options) : drain(host, options),
    );
}

async function undrain(host: string, { coordinator, json }: TestbedOptions): Promise<void> {
  await withClient(coordinator, (client) => client.undrain(host));
  if (json) printJson({ host, draining: false });
  else console.log(`${host} takes guests again`);
}

async function drain(host: string, { coordinator, json }: TestbedOptions): Promise<void> {
  const guests: CoordinatorServiceDrainHostResponse[] = [];
  await withClient(coordinator, async (client) => {
    for await (const fate of client.drain(host)) {
      guests.push(fate);
      if (!json) console.log(fateText(fate));
    }
  });
  const stayed = guests.filter(({ reason }) => reason !== '');
  if (stayed.length > 0) process.exitCode = EXIT.failed;
  if (json) printJson({ host, draining: true, guests });
  else if (stayed.length === 0) console.log(`${host} is drained`);
  else console.log(`${host} takes no guests, but could not be emptied; make room elsewhere and ask again`);
}

function fateText({ guest, host, reason }: CoordinatorServiceDrainHostResponse): string {
  if (reason !== '') return `guest ${guest} could not be moved: ${reason}`;
  return host === '' ? `guest ${guest} was destroyed` : `guest ${guest} is on ${host}`;
}
