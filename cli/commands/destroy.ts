/** `godwit destroy`: ends a guest. */
import type { Command } from 'commander';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Examples:
  godwit destroy web`;

export function addDestroy(program: Command): void {
  withTestbed(program.command('destroy').description('end a guest'))
    .argument('<guest>', 'its name', entityName)
    .addHelpText('after', EXAMPLES)
    .action(destroy);
}

async function destroy(guest: string, { coordinator, json }: TestbedOptions): Promise<void> {
  await withClient(coordinator, (client) => client.destroyGuest(guest));
  if (json) printJson({ guest });
  else console.log(`guest ${guest} was destroyed`);
}
