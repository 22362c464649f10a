/**
 * One side of a probe as a process, so that it can be put into a network namespace and shares no thread with
 * the other side: `serve ADDRESS TOKEN` prints its port and ends with its stdin; `run REQUEST` (JSON) prints
 * the result.
 */

import { once } from 'node:events';
import { runProbe, serveProbe } from '../hosts/network/probe.ts';
import type { ProbeRequest } from '../proto/generated/godwit/v1/network.ts';

const [mode, first = '', token = ''] = process.argv.slice(2);
if (mode === 'serve') {
  const server = await serveProbe(first, token);
  process.stdout.write(`${server.port}\n`);
  process.stdin.resume();
  await once(process.stdin, 'end');
  await server.close();
} else {
  const result = await runProbe(JSON.parse(first) as ProbeRequest);
  process.stdout.write(`${JSON.stringify({ ...result, receivedBytes: Number(result.receivedBytes) })}\n`);
}
