/** `godwit cancel`: cancels a running migration. */
import type { Command } from 'commander';
import { type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
A migration can be cancelled until its commit point; the guest then runs on where it was.

Examples:
  godwit cancel web`;

export function addCancel(program: Command): void {
  withTestbed(program.command('cancel').description('cancel a running migration'))
    .argument('<target>', 'the name of a guest or of a migration')
    .addHelpText('after', EXAMPLES)
    .action(cancel);
}

async function cancel(target: string, { coordinator, json }: TestbedOptions): Promise<void> {
  await withClient(coordinator, (client) => client.cancel(target));
  if (json) printJson({ target });
  else console.log(`the migration of ${target} is being cancelled`);
}
