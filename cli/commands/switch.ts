/** `godwit switch`: turns a running migration into post-copy. */
import type { Command } from 'commander';
import { type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
For a pre-copy that does not come to its end, or a hybrid before its own switch (QEMU's migrate-start-postcopy): what is
being sent now is the last before the guest is paused; the guest then runs at the destination, and what it lacks there
follows. From then on the migration can not be cancelled.

Examples:
  godwit switch web`;

export function addSwitch(program: Command): void {
  withTestbed(program.command('switch').description('turn a running migration into post-copy'))
    .argument('<target>', 'the name of a guest or of a migration')
    .addHelpText('after', EXAMPLES)
    .action(switchMigration);
}

async function switchMigration(target: string, { coordinator, json }: TestbedOptions): Promise<void> {
  await withClient(coordinator, (client) => client.switchToPostCopy(target));
  if (json) printJson({ target });
  else console.log(`the migration of ${target} goes on as post-copy`);
}
