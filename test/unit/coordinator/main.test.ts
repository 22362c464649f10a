/** The coordinator as a process: its ready line, how it ends, and what it says of bad arguments. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { CoordinatorServiceClient } from '../../../proto/generated/godwit/v1/coordinator.ts';
import { callUnary, clientFor } from '../../../proto/rpc.ts';

const script = fileURLToPath(new URL('../../../coordinator/main.ts', import.meta.url));
const children: ChildProcessWithoutNullStreams[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function run(...args: string[]): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [script, ...args]);
  children.push(child);
  return child;
}

async function ready(child: ChildProcessWithoutNullStreams): Promise<string> {
  for await (const line of createInterface({ input: child.stdout })) {
    return (JSON.parse(line) as { ready: { address: string } }).ready.address;
  }
  throw new Error('it ended without a ready line');
}

async function exit(child: ChildProcessWithoutNullStreams): Promise<unknown> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode ?? child.exitCode;
}

test('serves at the address that it says, and ends with 0 at SIGTERM', async () => {
  const child = run();
  const client = clientFor(CoordinatorServiceClient, await ready(child));
  const call = { what: 'list hosts', deadlineMs: 60_000 };
  expect(await callUnary(client, 'listHosts', {}, call)).toEqual({ hosts: [] });
  client.close();
  child.kill('SIGTERM');
  expect(await exit(child)).toBe(0);
});

test('ends with its owner when it is owned', async () => {
  const child = run('--owned');
  await ready(child);
  child.stdin.end();
  expect(await exit(child)).toBe(0);
});

describe('bad arguments end it with a sentence', () => {
  test.each([
    [2, '--lease', '5', /--lease 5: expected 100ms to \d+s, such as 10s/],
    [2, '--lease', '900s', /--lease 900s: expected/],
    [2, '--colour', 'red', /Unknown option '--colour'/],
    [1, '--listen', 'nonsense', /listen on "nonsense": expected host:port/],
    [1, '--state', '/', /state file \/: .*folder has to exist/],
  ])('with exit %d: %s %s', async (code, option, value, expected) => {
    const child = run(option, value);
    let text = '';
    child.stderr.on('data', (data: Buffer) => {
      text += data.toString();
    });
    const closed = once(child, 'close');
    expect(await exit(child)).toBe(code);
    await closed;
    expect(text).toMatch(expected);
  });
});
