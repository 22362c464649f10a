/**
 * The forwarder as a process. Prints one line of JSON when it listens, with the address for hosts, the token
 * that they must say, and each guest's address for clients; ends at SIGTERM, or, with --owned, when its stdin
 * ends.
 */

import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { errorText } from '../proto/errors.ts';
import { goFirst } from '../proto/thread-priority.ts';
import { Forwarder } from './forwarder.ts';

const USAGE = `usage: node clients/forwarder-main.ts --address IPV4 --guest NAME [--guest NAME ...] [--owned]`;

function readSettings() {
  try {
    const { values } = parseArgs({
      options: {
        address: { type: 'string', default: '127.0.0.1' },
        guest: { type: 'string', multiple: true },
        owned: { type: 'boolean', default: false },
      },
    });
    if (values.guest === undefined) throw new Error('--guest is needed');
    return { address: values.address, guests: values.guest, owned: values.owned };
  } catch (error) {
    process.stderr.write(`godwit forwarder: ${errorText(error)}\n${USAGE}\n`);
    process.exit(2);
  }
}

// On a machine of its own it would have a processor of its own.
goFirst();
const { owned, ...settings } = readSettings();
if (owned) process.stdin.resume().on('end', () => process.exit(0));
try {
  const token = randomBytes(16).toString('hex');
  const forwarder = await Forwarder.start({ ...settings, port: 0, token });
  process.on('SIGTERM', () => void forwarder.close().then(() => process.exit(0)));
  const ready = { address: forwarder.address, token, guests: forwarder.guestAddresses };
  process.stdout.write(`${JSON.stringify({ ready })}\n`);
} catch (error) {
  process.stderr.write(`godwit forwarder: ${errorText(error)}\n`);
  process.exit(1);
}
