/** `godwit probe`: measures the link between two hosts. */
import type { Command } from 'commander';
import type { LinkComparison } from '../../proto/generated/godwit/v1/network.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';
import { bitsText, durationText } from '../render/measures.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
The probe takes the way that a migration would take, through the NICs of both hosts: some round trips, then
a second of transfer. What is off by more than 3 % of what was asked is said below the table.

Examples:
  godwit probe host-1 host-2`;

export function addProbe(program: Command): void {
  withTestbed(program.command('probe').description('measure the link from one host to another'))
    .argument('<from>', 'the host that sends', entityName)
    .argument('<to>', 'the host that receives', entityName)
    .addHelpText('after', EXAMPLES)
    .action(probe);
}

async function probe(from: string, to: string, { coordinator, json }: TestbedOptions): Promise<void> {
  const comparison = await withClient(coordinator, (client) => client.probe(from, to));
  if (json) printJson(comparison);
  else console.log(comparisonText(comparison));
}

function comparisonText(link: LinkComparison): string {
  const { askedRateBytesPerS, measuredRateBytesPerS, askedRoundTripMs, measuredRoundTripMs } = link;
  const asked = askedRateBytesPerS === 0 ? 'unlimited' : bitsText(askedRateBytesPerS);
  const rows = [
    ['rate', asked, bitsText(measuredRateBytesPerS)],
    ['round trip', durationText(askedRoundTripMs), durationText(measuredRoundTripMs)],
  ];
  const table = tableText([`${link.source} TO ${link.destination}`, 'ASKED', 'MEASURED'], rows, 1);
  return [table, ...link.differences].join('\n');
}
