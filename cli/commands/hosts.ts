/** `godwit hosts`: the hosts of a testbed. */
import type { Command } from 'commander';
import type { HostEntry } from '../../proto/generated/godwit/v1/coordinator.ts';
import { type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';
import { bytesText, durationText, orUnknown } from '../render/measures.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
Examples:
  godwit hosts
  godwit hosts --json --coordinator 127.0.0.1:7070`;

export function addHosts(program: Command): void {
  withTestbed(program.command('hosts').description('list the hosts of a testbed'))
    .addHelpText('after', EXAMPLES)
    .action(listHosts);
}

async function listHosts({ coordinator, json }: TestbedOptions): Promise<void> {
  const hosts = await withClient(coordinator, (client) => client.hosts());
  if (json) printJson(hosts);
  else console.log(tableText(['HOST', 'STATE', 'ADDRESS', 'GUESTS', 'USED', 'MEMORY'], hosts.map(row), 3));
}

function row({ host, alive, draining, lastSeenMsAgo, address, stats, guests }: HostEntry): string[] {
  return [
    host,
    alive ? (draining ? 'draining' : 'alive') : `silent for ${durationText(lastSeenMsAgo)}`,
    address,
    String(guests.length),
    orUnknown(stats, ({ guestMemoryBytes }) => bytesText(Number(guestMemoryBytes))),
    orUnknown(stats, ({ capacityBytes }) => bytesText(Number(capacityBytes))),
  ];
}
