/**
 * Who a host container is: prints the arguments of hosts/main.ts that differ from one container to the next.
 * Its number has to stay when the container is started again. A swarm gives it in GODWIT_HOST_SLOT. Compose
 * leaves a template there, but Docker's DNS knows the container's name, `godwit_host_3` or `godwit-host-3`.
 * (A swarm's DNS names a container only after its health check has passed, which would be too late.)
 */
import { lookup, Resolver } from 'node:dns/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { size } from '../spec/units.ts';

const RETRY_MS = 200;

/** Asks until the DNS knows: a container may start a moment earlier. */
async function numberFromDns(address: string): Promise<string> {
  const resolver = new Resolver();
  const question = `${address.split('.').toReversed().join('.')}.in-addr.arpa`;
  const giveUpAtMs = performance.now() + DEADLINES_MS.processStart;
  for (;;) {
    const names = await resolver.resolvePtr(question).catch((): string[] => []);
    for (const name of names) {
      const number = /^[^.]*[_-]host[_-](\d+)\./.exec(name)?.[1];
      if (number !== undefined) return number;
    }
    if (performance.now() > giveUpAtMs) {
      fail(
        `Docker's DNS knows ${address} as ${names.join(', ') || 'nothing'}, which is no name of a host; ` +
          'run this container as the service `host` of docker-compose.yml, with `up` and not with `run`',
      );
    }
    await sleep(RETRY_MS);
  }
}

function fail(problem: string): never {
  process.stderr.write(`godwit host: ${problem}\n`);
  process.exit(2);
}

const memoryText = process.env.GODWIT_HOST_MEMORY ?? '';
const memoryBytes = size.parse(memoryText);
if (memoryBytes === undefined) fail(`GODWIT_HOST_MEMORY=${memoryText}: allowed is ${size.allowed}`);
// Docker writes it into the container's hosts file; of several addresses this is the one on the project's
// network.
const { address } = await lookup(hostname(), { family: 4 });
const slot = process.env.GODWIT_HOST_SLOT ?? '';
const number = /^\d+$/.test(slot) ? slot : await numberFromDns(address);
process.stdout.write(`--name host-${number} --advertise ${address} --memory ${memoryBytes}\n`);
