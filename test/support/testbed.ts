/**
 * A coordinator and hosts as real processes, for tests that kill them. Unlike the fabric it lets a test kill and
 * restart the coordinator too, and asks the hosts directly what they hold.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { RpcError } from '../../proto/errors.ts';
import {
  CoordinatorServiceClient,
  type CoordinatorServiceMigrateRequest,
  type GuestEntry,
} from '../../proto/generated/godwit/v1/coordinator.ts';
import {
  type AuditReport,
  type GuestSpec,
  RateUnit,
  WorkloadSpec,
} from '../../proto/generated/godwit/v1/guest.ts';
import { HostServiceClient } from '../../proto/generated/godwit/v1/host.ts';
import type {
  MigrationOptions,
  MigrationProgress,
  MigrationReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import type { FailpointName } from '../../proto/names.ts';
import { callStream, callUnary, clientFor } from '../../proto/rpc.ts';
import { endAllProcesses, type StartedProcess, startNode, waitFor } from './processes.ts';

/** For tests in which nobody dies: no machine is so slow that it loses it. */
export const LONG_LEASE_MS = 60_000;
const MEMORY_BYTES_PER_HOST = 256 * 1024 * 1024;

interface RunningHost {
  readonly process: StartedProcess;
  readonly client: HostServiceClient;
}

/** A small guest that writes; small enough for a slow machine. */
export function guestSpec(name: string, changes: Partial<GuestSpec> = {}): GuestSpec {
  return {
    name,
    memoryBytes: 4n * 1024n * 1024n,
    vcpuCount: 1,
    deviceStateBytes: 4096n,
    seed: 7n,
    content: { zero: 0.2, duplicate: 0.1, shared: 0.1, compressible: 0.5 },
    workload: WorkloadSpec.create({
      kind: 'hot-cold',
      rate: 2000,
      rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S,
      workingSetBytes: 1024n * 1024n,
      hot: 0.9,
    }),
    network: undefined,
    ...changes,
  };
}

export class Testbed {
  readonly #folder = mkdtempSync(join(tmpdir(), 'godwit-test-'));
  readonly #hosts = new Map<string, RunningHost>();
  readonly #leaseMs: number;
  readonly #env: Readonly<Record<string, string>>;
  #coordinator: StartedProcess | undefined;
  #address = '127.0.0.1:0';
  #client: CoordinatorServiceClient | undefined;

  /** @param env besides the environment of the tests */
  constructor(leaseMs: number, env: Readonly<Record<string, string>> = {}) {
    this.#leaseMs = leaseMs;
    this.#env = env;
  }

  static async start(
    hostNames: readonly string[],
    leaseMs = 8000,
    env: Readonly<Record<string, string>> = {},
  ): Promise<Testbed> {
    const testbed = new Testbed(leaseMs, env);
    await testbed.startCoordinator();
    await Promise.all(hostNames.map((name) => testbed.startHost(name)));
    return testbed;
  }

  get client(): CoordinatorServiceClient {
    if (this.#client === undefined) throw new Error('the coordinator has not been started');
    return this.#client;
  }

  /** The coordinator's. */
  get address(): string {
    return this.#address;
  }

  /** Starts it, or starts it again with the same address and the same record. */
  async startCoordinator(): Promise<void> {
    const state = join(this.#folder, 'state.sqlite');
    const args = ['--listen', this.#address, '--state', state, '--lease', `${this.#leaseMs}ms`, '--owned'];
    this.#coordinator = startNode(['coordinator/main.ts', ...args], { env: this.#env });
    this.#address = await readyAddress(this.#coordinator);
    this.#client?.close();
    this.#client = clientFor(CoordinatorServiceClient, this.#address);
  }

  /** @param more arguments besides those that every host of a testbed has */
  async startHost(name: string, more: readonly string[] = []): Promise<void> {
    const args = ['--name', name, '--coordinator', this.#address, ...more];
    const process = startNode(
      ['hosts/main.ts', ...args, '--memory', String(MEMORY_BYTES_PER_HOST), '--owned'],
      { env: this.#env },
    );
    this.#hosts.set(name, {
      process,
      client: clientFor(HostServiceClient, await readyAddress(process)),
    });
  }

  host(name: string): HostServiceClient {
    return this.#host(name).client;
  }

  /** All that a host has printed. */
  printed(name: string): string {
    const { process } = this.#host(name);
    return `${process.stdout}${process.stderr}`;
  }

  async killHost(name: string): Promise<void> {
    const { process, client } = this.#host(name);
    this.#hosts.delete(name);
    client.close();
    process.kill('SIGKILL');
    await process.end();
  }

  /** Asks a host to end (SIGTERM), and does not wait for it. */
  askToEnd(name: string): StartedProcess {
    const { process } = this.#host(name);
    process.kill('SIGTERM');
    return process;
  }

  /** Stops a host's process as it is (SIGSTOP), or lets it go on (SIGCONT). */
  signalHost(name: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#host(name).process.kill(signal);
  }

  async killCoordinator(): Promise<void> {
    this.#coordinator!.kill('SIGKILL');
    await this.#coordinator!.end();
  }

  /** Waits until the witness no longer counts a killed host as alive: only then may its name be taken again. */
  async hostIsDead(name: string): Promise<void> {
    await waitFor(async () => {
      const { hosts } = await callUnary(this.client, 'listHosts', {}, settings('listing hosts'));
      return hosts.every(({ host, alive }) => host !== name || !alive);
    }, `the end of ${name}'s lease`);
  }

  async createGuest(spec: GuestSpec, host: string): Promise<void> {
    await callUnary(this.client, 'createGuest', { spec, host }, settings(`creating ${spec.name}`));
  }

  async destroyGuest(guest: string): Promise<void> {
    await callUnary(this.client, 'destroyGuest', { guest }, settings(`destroying ${guest}`));
  }

  /** The witness's entry of a guest. */
  async guest(name: string): Promise<GuestEntry> {
    const { guests } = await callUnary(this.client, 'listGuests', {}, settings('listing guests'));
    const entry = guests.find(({ spec }) => spec?.name === name);
    if (entry === undefined) throw new Error(`the coordinator does not list guest ${name}`);
    return entry;
  }

  async audit(guest: string): Promise<AuditReport> {
    const { report } = await callUnary(this.client, 'auditGuest', { guest }, settings(`auditing ${guest}`));
    return report!;
  }

  /** Starts a migration and follows it in the background. */
  migrate(guest: string, destination: string, changes: Partial<MigrationOptions> = {}): RunningMigration {
    const options = { ...defaultMigrationOptions('pre-copy'), ...changes };
    return new RunningMigration(this.client, { guest, destination, options });
  }

  /** Lets a host go on that is held at a failpoint. It may be dead, or have ended the migration by itself. */
  async releaseFailpoint(host: string, migration: string): Promise<void> {
    const client = this.#hosts.get(host)?.client;
    if (client === undefined) return;
    try {
      await callUnary(client, 'releaseFailpoint', { migration }, settings('releasing'));
    } catch (error) {
      if (!(error instanceof RpcError && error.code === 'NOT_FOUND')) throw error;
    }
  }

  /** Waits until a destination is held at a failpoint. */
  async destinationStands(host: string, guest: string, migration: string): Promise<void> {
    const question = { migration, guest, decidedOwner: '' };
    await waitFor(async () => {
      const client = this.host(host);
      const { failpoint } = await callUnary(client, 'queryHandover', question, settings('asking'));
      return failpoint !== '';
    }, `migration ${migration} to be held at ${host}`);
  }

  /** The operations that a host's copy of a guest has done, or undefined when it has none. */
  async operations(host: string, guest: string): Promise<number | undefined> {
    const running = this.#hosts.get(host);
    if (running === undefined) return undefined;
    try {
      const request = { guest, sinceMs: 0 };
      const { series } = await callUnary(running.client, 'getGuestStats', request, settings('reading stats'));
      return series?.operations.at(-1) ?? 0;
    } catch (error) {
      if (error instanceof RpcError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Ends every process and removes the record. */
  async close(): Promise<void> {
    for (const { client } of this.#hosts.values()) client.close();
    this.#client?.close();
    await endAllProcesses();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #host(name: string): RunningHost {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`${name} does not run`);
    return host;
  }
}

/** A migration that a test watches: its latest progress, and its report or its error at the end. */
export class RunningMigration {
  readonly ended: Promise<MigrationReport>;
  progress: MigrationProgress | undefined;

  constructor(client: CoordinatorServiceClient, request: CoordinatorServiceMigrateRequest) {
    this.ended = this.#follow(client, request);
    // A test that kills the coordinator does not wait for it.
    this.ended.catch(() => {});
  }

  /** The migration's name, once the coordinator has told it. */
  async name(): Promise<string> {
    await waitFor(() => this.progress !== undefined, 'the first progress of the migration');
    return this.progress!.migration;
  }

  /** Waits until the migration stands at a failpoint of the source; throws with its end when it ends before. */
  async stands(point: FailpointName): Promise<void> {
    let end: string | undefined;
    this.ended.then(
      ({ phase, reason }) => {
        end = `phase ${phase}: ${reason}`;
      },
      (error: unknown) => {
        end = String(error);
      },
    );
    await waitFor(
      () => this.progress?.failpoint === point || end !== undefined,
      () => `the migration at ${point}; it is at ${JSON.stringify(this.progress, bigintAsText)}`,
    );
    if (end !== undefined) throw new Error(`the migration ended before ${point}: ${end}`);
  }

  async #follow(
    client: CoordinatorServiceClient,
    request: CoordinatorServiceMigrateRequest,
  ): Promise<MigrationReport> {
    for await (const { event } of callStream(client, 'migrate', request, { what: 'migrating' })) {
      if (event?.$case === 'report') return event.value;
      if (event?.$case === 'progress') this.progress = event.value;
    }
    throw new Error('the migration ended without a report');
  }
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

function settings(what: string): { what: string; deadlineMs: number } {
  return { what, deadlineMs: DEADLINES_MS.guestWork };
}

async function readyAddress(process: StartedProcess): Promise<string> {
  const match = await process.prints(/\{"ready":\{"address":"([^"]+)"/);
  return match[1]!;
}
