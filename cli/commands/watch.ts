/** `godwit watch`: what happens on a testbed, as it happens. */
import type { Command } from 'commander';
import { catchInterrupts } from '../interrupts.ts';
import { type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Stays until Ctrl-C. With --json one line for each event.

Examples:
  godwit watch
  godwit watch --json | jq .kind`;

export function addWatch(program: Command): void {
  withTestbed(program.command('watch').description('show what happens on a testbed'))
    .addHelpText('after', EXAMPLES)
    .action(watch);
}

async function watch({ coordinator, json }: TestbedOptions): Promise<void> {
  const interrupted = catchInterrupts();
  await withClient(coordinator, async (client) => {
    for await (const event of client.events(interrupted)) {
      if (json) printJson(event, 'line');
      else {
        const at = new Date(event.atMs).toISOString();
        console.log([at, event.kind, event.subject, event.detail].join('  ').trimEnd());
      }
    }
  }).catch((error: unknown) => {
    interrupted.throwIfAborted();
    throw error;
  });
}
