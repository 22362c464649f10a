/**
 * A load generator as a process. Prints one line of JSON when it is connected and sends. A line on stdin that
 * says {"finish": {"fromMs", "toMs"}} (the migration's window, or null) ends the load; then it prints its
 * report, one line of JSON, and ends. It ends without a word at SIGTERM and when its stdin ends.
 */

import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import {
  CLIENT_ARRIVALS,
  CLIENT_PROTOCOLS,
  type LoadSettings,
  type MigrationWindow,
} from '../proto/client-load.ts';
import { errorText } from '../proto/errors.ts';
import { goFirst } from '../proto/thread-priority.ts';
import { LoadGenerator } from './load-generator.ts';

const USAGE = `usage: node clients/load-main.ts --address HOST:PORT --protocol udp|tcp --rate N
  --arrivals constant|poisson --read SHARE --keys N --seed N --timeout MS [--owned]`;

function end(code: number, problem: string): never {
  process.stderr.write(`godwit load: ${problem}\n`);
  process.exit(code);
}

function readSettings(): LoadSettings {
  try {
    const text = { type: 'string' } as const;
    const { values } = parseArgs({
      options: {
        ...{ address: text, protocol: text, rate: text, arrivals: text, read: text, keys: text, seed: text },
        timeout: text,
        owned: { type: 'boolean', default: false },
      },
    });
    const protocol = CLIENT_PROTOCOLS.find((each) => each === values.protocol);
    const arrivals = CLIENT_ARRIVALS.find((each) => each === values.arrivals);
    const numbers = {
      ratePerS: Number(values.rate),
      read: Number(values.read),
      keys: Number(values.keys),
      seed: Number(values.seed),
      timeoutMs: Number(values.timeout),
    };
    const isWhole = Object.values(numbers).every((value) => value >= 0);
    if (values.address === undefined || protocol === undefined || arrivals === undefined || !isWhole) {
      throw new Error('a setting is missing or wrong');
    }
    return { address: values.address, protocol, arrivals, ...numbers };
  } catch (error) {
    return end(2, `${errorText(error)}\n${USAGE}`);
  }
}

// It measures others, and not how long it waits for a processor.
goFirst();
const settings = readSettings();
try {
  const generator = await LoadGenerator.start(settings, (error) => end(1, errorText(error)));
  process.stdout.write(`${JSON.stringify({ ready: { address: settings.address } })}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on('close', () => process.exit(0));
  lines.once('line', (line) => {
    const { finish } = JSON.parse(line) as { finish: MigrationWindow | null };
    void generator.finish(finish ?? undefined).then((report) => {
      process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
    });
  });
} catch (error) {
  end(1, errorText(error));
}
