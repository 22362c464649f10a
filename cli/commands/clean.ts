/** `godwit clean`: removes what testbeds in network namespaces left behind. */
import type { Command } from 'commander';
import { removeLeftovers } from '../../fabric/netns-runs.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Network namespaces carry the process that made them in their names, godwit-PID-START-NUMBER-host-1. Those whose
process is gone are removed, those of a testbed that is up are not. The next testbed in namespaces does the same
when it starts.

Examples:
  godwit clean
  godwit clean --json`;

export function addClean(program: Command): void {
  program
    .command('clean')
    .description('remove network namespaces that a killed testbed left behind')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(clean);
}

async function clean({ json }: { readonly json: boolean }): Promise<void> {
  const leftovers = await removeLeftovers();
  if (json) printJson(leftovers);
  else {
    const { removed, alive } = leftovers;
    console.log(removed.length === 0 ? 'nothing was left behind' : `removed: ${removed.join(', ')}`);
    if (alive.length > 0) console.log(`up, and left alone: ${alive.join(', ')}`);
  }
}
