/**
 * A host with a guest that says every message back, with the host's name before it: the uplink of an own address,
 * driven from stdin. `NUMBER COMMAND` is answered by `NUMBER: done` when the uplink has been told; the commands are
 * `announce`, `withdraw`, `hold` (the guest takes nothing), `room` and `close`.
 *
 * node test/networks/echo-guest.ts NAME ADDRESS PORT DEVICE
 */
import { createInterface } from 'node:readline';
import { AddressUplink } from '../../hosts/guest-nic/address-uplink.ts';
import { errorText } from '../../proto/errors.ts';
import { FLOW_BYTES } from '../../proto/guest-network.ts';

const [name = '', address = '', port = '', device = ''] = process.argv.slice(2);
const network = { address, port: Number(port), forwarder: '', token: '', announce: undefined };
const uplink = new AddressUplink({ guest: 'echo', network, device });
let takes = true;

const commands: Readonly<Record<string, () => void | Promise<void>>> = {
  announce: () => uplink.announce(),
  withdraw: () => uplink.withdraw(),
  hold: () => {
    takes = false;
  },
  room: () => {
    takes = true;
    uplink.room();
  },
  close: () => uplink.close(),
};

try {
  await uplink.start({
    offer(flow, message) {
      if (takes) uplink.send(flow, Buffer.from(`${name} ${Buffer.from(message).toString()}`));
      return takes;
    },
    lastFlow: () => new Uint8Array(FLOW_BYTES),
    ready: () => {},
    trouble: (problem) => void process.stderr.write(problem === '' ? '' : `${problem}\n`),
  });
  process.stdout.write('ready\n');
} catch (error) {
  process.stderr.write(`${errorText(error)}\n`);
  process.exit(1);
}
for await (const line of createInterface({ input: process.stdin })) {
  const [number, command = ''] = line.split(' ');
  await commands[command]?.();
  process.stdout.write(`${number}: done\n`);
}
process.exit(0);
