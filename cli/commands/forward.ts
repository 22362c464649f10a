/** `godwit forward`: keeps an address for each of some guests, until Ctrl-C. */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { Forwarder } from '../../clients/forwarder.ts';
import type { RequestCounts } from '../../clients/request-table.ts';
import { catchInterrupts, stayUntil } from '../interrupts.ts';
import { address, entityName } from '../options.ts';
import { printJson } from '../render/json.ts';
import { countText } from '../render/measures.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
Clients speak UDP or TCP to the address that it keeps for a guest, wherever the guest runs; their TCP connections
stay while it moves. The guest's hosts connect to the forwarder, which is told to them when the guest is made. At the
end it says what became of the requests.

Examples:
  godwit forward web
  godwit forward web db --listen 192.0.2.7:7080`;

interface ForwardOptions {
  readonly listen: string;
  readonly json: boolean;
}

export function addForward(program: Command): void {
  program
    .command('forward')
    .description('keep an address for guests that move')
    .argument('<guest...>', 'their names', (text: string, before: string[] | undefined) => [
      ...(before ?? []),
      entityName(text),
    ])
    .option('--listen <address>', 'for hosts, an IPv4 address and a port; 0 for any', address, '127.0.0.1:0')
    .option('--json', 'print JSON, a line for each event', false)
    .addHelpText('after', EXAMPLES)
    .action(forward);
}

async function forward(guests: readonly string[], { listen, json }: ForwardOptions): Promise<void> {
  const interrupted = catchInterrupts();
  const colon = listen.lastIndexOf(':');
  const token = randomBytes(16).toString('hex');
  const forwarder = await Forwarder.start({
    address: listen.slice(0, colon),
    port: Number(listen.slice(colon + 1)),
    guests: [...new Set(guests)],
    token,
    turned: (guest, host, epoch) => {
      if (json) printJson({ guest, host, epoch }, 'line');
      else console.log(`guest ${guest} is at ${host} (epoch ${epoch})`);
    },
  });
  try {
    if (json) {
      printJson({ forwarder: forwarder.address, token, guests: forwarder.guestAddresses }, 'line');
    } else console.log(welcome(forwarder, token));
    if (!interrupted.aborted) await stayUntil(interrupted);
    if (json) printJson({ counts: countsOf(forwarder) }, 'line');
    else console.log(countsText(forwarder));
  } finally {
    await forwarder.close();
  }
  interrupted.throwIfAborted();
}

function countsOf(forwarder: Forwarder): Record<string, RequestCounts> {
  return Object.fromEntries(
    Object.keys(forwarder.guestAddresses).map((guest) => [guest, forwarder.counts(guest)!]),
  );
}

function countsText(forwarder: Forwarder): string {
  const rows = Object.entries(countsOf(forwarder)).map(([guest, counts]) => [
    guest,
    ...[counts.asked, counts.answered, counts.sentAgain, counts.dropped, counts.expired].map(countText),
  ]);
  return tableText(['GUEST', 'ASKED', 'ANSWERED', 'SENT AGAIN', 'DROPPED', 'FORGOTTEN'], rows, 1);
}

function welcome({ address: where, guestAddresses }: Forwarder, token: string): string {
  const lines = Object.entries(guestAddresses).flatMap(([guest, door]) => [
    `  godwit create ${guest} --workload kv --forwarder ${where} --token ${token}`,
    `  godwit load ${door}                 (clients of ${guest})`,
  ]);
  return `The forwarder listens for hosts at ${where}. In another terminal:\n${lines.join('\n')}\n\nCtrl-C ends it.`;
}
