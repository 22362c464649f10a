/** Options that several commands share, and how their values are read. A wrong value ends in exit code 2. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { TestbedClient } from '../experiment/testbed-client.ts';
import { RpcError } from '../proto/errors.ts';
import { nameProblem } from '../proto/names.ts';
import { size } from '../spec/units.ts';

export const DEFAULT_COORDINATOR = '127.0.0.1:7070';
/** How long a host of a local testbed keeps its lease without hearing from the coordinator. */
export const LEASE_MS = 10_000;
export const PORT_MAX = 65_535;

/** Reads a whole number within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Allowed is a whole number from ${min} to ${max}.`);
  };
}

/** Reads a size such as 4GiB, in bytes. */
export function memorySize(min: number): (text: string) => number {
  return (text) => {
    const bytes = size.parse(text);
    if (bytes !== undefined && bytes >= min) return bytes;
    throw new InvalidArgumentError(`Allowed is ${size.allowed}, from ${size.format(min)}.`);
  };
}

/** Reads "host:port". */
export function address(text: string): string {
  const match = /^.+:(\d{1,5})$/.exec(text);
  if (match !== null && Number(match[1]) <= PORT_MAX) return text;
  throw new InvalidArgumentError('Allowed is host:port, such as 127.0.0.1:7070.');
}

/** Reads where a testbed is: "host:port", or "unix:path" when it is in network namespaces. */
export function testbedAddress(text: string): string {
  return /^unix:\/./.test(text) ? text : address(text);
}

/** Reads a guest's or a host's name. */
export function entityName(text: string): string {
  const problem = nameProblem(text);
  if (problem === undefined) return text;
  throw new InvalidArgumentError(`${problem}.`);
}

export interface TestbedOptions {
  readonly coordinator: string;
  readonly json: boolean;
}

/** For commands that talk to a testbed that is up. */
export function withTestbed(command: Command): Command {
  return command
    .addOption(
      new Option('--coordinator <address>', 'the testbed, as `godwit up` prints it')
        .env('GODWIT_COORDINATOR')
        .default(DEFAULT_COORDINATOR)
        .argParser(testbedAddress),
    )
    .option('--json', 'print JSON', false);
}

/** Does something with a client that is closed afterwards. */
export async function withClient<Result>(
  coordinator: string,
  work: (client: TestbedClient) => Promise<Result>,
): Promise<Result> {
  const client = new TestbedClient(coordinator);
  try {
    return await work(client);
  } catch (error) {
    if (!(error instanceof RpcError) || error.code !== 'UNAVAILABLE') throw error;
    const advice = 'Start a testbed with `godwit up`, or say where it is with --coordinator.';
    throw new Error(`${error.message}\n${advice}`, { cause: error });
  } finally {
    client.close();
  }
}
