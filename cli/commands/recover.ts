/** `godwit recover`: connects the hosts of a paused post-copy again. */
import type { Command } from 'commander';
import { type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
A post-copy that lost its link stands in postcopy-paused: vCPUs that need a page wait, and nothing is lost. Its
destination connects again by itself until the recovery limit is over; this makes it try now. With --recovery manual
it waits for this command, however long that takes (QEMU's migrate-recover).

Examples:
  godwit recover web`;

export function addRecover(program: Command): void {
  withTestbed(program.command('recover').description('connect the hosts of a paused post-copy again'))
    .argument('<target>', 'the name of a guest or of a migration')
    .addHelpText('after', EXAMPLES)
    .action(recover);
}

async function recover(target: string, { coordinator, json }: TestbedOptions): Promise<void> {
  await withClient(coordinator, (client) => client.recover(target));
  if (json) printJson({ target });
  else console.log(`the migration of ${target} has its link again`);
}
