/**
 * Waits until as many hosts have registered as an experiment asks for: containers start in no order. `node
 * docker/wait-for-hosts.ts SPEC COORDINATOR` ends with 0 when they are there, with 1 when they do not come,
 * and with 2 when the spec is wrong.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { TestbedClient } from '../experiment/testbed-client.ts';
import { PATIENCE } from '../proto/deadlines.ts';
import { errorText } from '../proto/errors.ts';
import { loadSpec } from '../spec/parse-spec.ts';

const WAIT_MS = 120_000 * PATIENCE;
const POLL_MS = 500;

function fail(problem: string, exitCode: 1 | 2): never {
  process.stderr.write(`${problem}\n`);
  process.exit(exitCode);
}

function hostsNeeded(file: string): number {
  try {
    return loadSpec(file).fabric.hosts;
  } catch (error) {
    fail(errorText(error), 2);
  }
}

/** The names of the hosts that live, or why the coordinator did not answer. */
async function livingHosts(client: TestbedClient): Promise<string[] | Error> {
  try {
    return (await client.hosts()).filter(({ alive }) => alive).map(({ host }) => host);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

const [file = '', coordinator = ''] = process.argv.slice(2);
const needed = hostsNeeded(file);
const client = new TestbedClient(coordinator);
const giveUpAtMs = performance.now() + WAIT_MS;
for (;;) {
  const hosts = await livingHosts(client);
  if (!(hosts instanceof Error) && hosts.length >= needed) break;
  if (performance.now() > giveUpAtMs) {
    const found = hosts instanceof Error ? hosts.message : `registered are ${hosts.join(', ') || 'none'}`;
    fail(
      `godwit: waited ${WAIT_MS / 1000} s for the ${needed} hosts that ${file} asks for; ${found}.\n` +
        `Start enough with --scale host=${needed}; on a slow machine GODWIT_PATIENCE=4 waits longer.`,
      1,
    );
  }
  await sleep(POLL_MS);
}
client.close();
