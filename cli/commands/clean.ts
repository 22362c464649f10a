/** `godwit clean`: removes what godwit left behind in the machine's network, after it was killed. */
import type { Command } from 'commander';
import { removeLeftovers } from '../../fabric/netns-runs.ts';
import { removeTrialDevices } from '../../hosts/network/kernel-features.ts';
import { TcShaper, tcDevice } from '../../hosts/network/tc.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Network namespaces carry the process that made them in their names, godwit-PID-START-NUMBER-host-1. Those whose
process is gone are removed, those of a testbed that is up are not. The next testbed in namespaces does the same
when it starts. So do the names of the devices on which a host without namespaces tries what the kernel offers.
A device that tc shapes does not say whose shape it has; --device takes it away.

Examples:
  godwit clean
  godwit clean --device eth0        # of a host with --network tc that was killed; its next start does the same
  godwit clean --json`;

interface CleanOptions {
  readonly device?: string;
  readonly json: boolean;
}

export function addClean(program: Command): void {
  program
    .command('clean')
    .description('remove what a killed testbed left in the network')
    .option('--device <name>', 'take away, besides, the shape that tc gave to this device')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(clean);
}

async function clean({ device, json }: CleanOptions): Promise<void> {
  if (device !== undefined) await new TcShaper(await tcDevice(device)).remove();
  const runs = await removeLeftovers();
  const removed = [...runs.removed, ...(await removeTrialDevices())];
  if (json) printJson({ ...runs, removed });
  else {
    console.log(removed.length === 0 ? 'nothing was left behind' : `removed: ${removed.join(', ')}`);
    if (device !== undefined) console.log(`${device} has no shape of tc now`);
    if (runs.alive.length > 0) console.log(`up, and left alone: ${runs.alive.join(', ')}`);
  }
}
