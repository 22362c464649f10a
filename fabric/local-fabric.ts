/**
 * A coordinator and N hosts as processes of this machine, on a ground of their own: what the fabrics of one
 * machine have in common.
 */
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { CoordinatorServiceClient } from '../proto/generated/godwit/v1/coordinator.ts';
import { callUnary, clientFor } from '../proto/rpc.ts';
import { type ChildExit, ChildProcessError, OwnedProcess } from './child-process.ts';
import type { ClientSide, Fabric, FabricHost, FabricSettings } from './fabric.ts';

/** Where a process runs, and where it listens there. */
export interface Place {
  /** The command that brings a process there; empty when it is where we are. */
  readonly prefix: readonly string[];
  /** The process's arguments that say where it listens. */
  readonly args: readonly string[];
}

/** What a local fabric stands on: this machine's loopback, or a network that was made for it. */
export interface Ground {
  readonly coordinator: Place;
  /** Where we reach the coordinator, when it is not where its hosts do. */
  readonly clientAddress: string | undefined;
  readonly client: ClientSide;
  /** @param hostNumber from 1 */
  host(hostNumber: number): Place;
  /** Takes the ground away; called when no process of the fabric is left. */
  close(): Promise<void>;
}

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const COORDINATOR = join(root, 'coordinator', 'main.ts');
const HOST = join(root, 'hosts', 'main.ts');
const POLL_MS = 100;
/** Hosts that start at the same time: a start is processor time, and each has the same deadline. */
const STARTS_AT_ONCE = 2 * availableParallelism();

/**
 * Starts a coordinator and its hosts on a ground, and waits until all have registered.
 * @throws ChildProcessError, or the signal's reason; whatever had been started has ended then, and the ground
 * is gone.
 */
export async function startLocalFabric(settings: FabricSettings, ground: Ground): Promise<Fabric> {
  const coordinator = await startCoordinator(settings, ground).catch(async (error: unknown) => {
    await ground.close();
    throw error;
  });
  const fabric = new LocalFabric(settings, ground, coordinator);
  try {
    await fabric.startHosts();
  } catch (error) {
    await fabric.close();
    throw error;
  }
  return fabric;
}

function startCoordinator(settings: FabricSettings, ground: Ground): Promise<OwnedProcess> {
  const { prefix, args } = ground.coordinator;
  return OwnedProcess.start({
    name: 'coordinator',
    script: COORDINATOR,
    args: [...args, '--state', settings.stateFile, '--lease', `${settings.leaseMs}ms`],
    prefix,
    signal: settings.signal,
  });
}

class LocalFabric implements Fabric {
  readonly #settings: FabricSettings;
  readonly #ground: Ground;
  readonly #coordinator: OwnedProcess;
  readonly #client: CoordinatorServiceClient;
  readonly #names: readonly string[];
  readonly #hosts = new Map<string, OwnedProcess>();
  readonly #starting = new Set<Promise<void>>();
  readonly #ending = new AbortController();
  /** Ends whatever is being started or waited for. */
  readonly #stop: AbortSignal;

  constructor(settings: FabricSettings, ground: Ground, coordinator: OwnedProcess) {
    this.#settings = settings;
    this.#ground = ground;
    this.#coordinator = coordinator;
    this.#names = Array.from({ length: settings.hostCount }, (_, index) => `host-${index + 1}`);
    const { signal } = settings;
    this.#stop = signal === undefined ? this.#ending.signal : AbortSignal.any([signal, this.#ending.signal]);
    this.#client = clientFor(CoordinatorServiceClient, this.coordinatorAddress);
    void this.#report('coordinator', coordinator);
  }

  get coordinatorAddress(): string {
    return this.#ground.clientAddress ?? this.#coordinator.address;
  }

  get client(): ClientSide {
    return this.#ground.client;
  }

  hosts(): FabricHost[] {
    return this.#names.map((name) => {
      const { pid, running } = this.#host(name);
      return { name, pid, running };
    });
  }

  /** A few at a time; the first failure ends the starts of the others. */
  async startHosts(): Promise<void> {
    const failed = new AbortController();
    const waiting = this.#names.values();
    const lane = async (): Promise<void> => {
      for (const name of waiting) {
        if (failed.signal.aborted) return;
        try {
          await this.#startHost(name, AbortSignal.any([failed.signal, this.#stop]));
        } catch (error) {
          // The first reason stays.
          failed.abort(error);
        }
      }
    };
    await Promise.all(Array.from({ length: STARTS_AT_ONCE }, lane));
    failed.signal.throwIfAborted();
  }

  async kill(name: string): Promise<void> {
    const host = this.#host(name);
    host.kill();
    await host.exited;
  }

  async restart(name: string): Promise<void> {
    const old = this.#host(name);
    if (old.running) throw new Error(`restart ${name}: it runs (process ${old.pid}); end it first`);
    await this.#leaseEnded(name);
    await this.#startHost(name, this.#stop);
  }

  async close(): Promise<void> {
    this.#ending.abort(new Error('the fabric is being closed'));
    this.#client.close();
    await Promise.allSettled(this.#starting);
    // The hosts first: while they end, the coordinator is there to be told.
    await Promise.all([...this.#hosts.values()].map((host) => host.stop()));
    await this.#coordinator.stop();
    await this.#ground.close();
  }

  #host(name: string): OwnedProcess {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}; there are ${this.#names.join(', ')}`);
    return host;
  }

  async #startHost(name: string, signal: AbortSignal): Promise<void> {
    const { memoryBytesPerHost } = this.#settings;
    const { prefix, args: where } = this.#ground.host(this.#names.indexOf(name) + 1);
    const args = [
      ...['--name', name, '--coordinator', this.#coordinator.address],
      ...['--memory', String(memoryBytesPerHost), ...where],
    ];
    const start = async (): Promise<void> => {
      const host = await OwnedProcess.start({ name, script: HOST, args, prefix, signal });
      this.#hosts.set(name, host);
      void this.#report('host', host);
    };
    const starting = start();
    this.#starting.add(starting);
    try {
      await starting;
    } finally {
      this.#starting.delete(starting);
    }
  }

  /** The coordinator refuses a name that it believes alive: the dead host's lease has to end first. */
  async #leaseEnded(name: string): Promise<void> {
    const giveUpAtMs = performance.now() + DEADLINES_MS.resolve;
    for (;;) {
      const { hosts } = await callUnary(
        this.#client,
        'listHosts',
        {},
        { what: `restart ${name}`, deadlineMs: DEADLINES_MS.query, signal: this.#stop },
      );
      if (!hosts.some(({ host, alive }) => host === name && alive)) return;
      if (performance.now() > giveUpAtMs) {
        throw new ChildProcessError(
          `restart ${name}: the coordinator still counts it as alive after ${DEADLINES_MS.resolve / 1000} s`,
        );
      }
      await sleep(POLL_MS, undefined, { signal: this.#stop });
    }
  }

  async #report(part: 'coordinator' | 'host', child: OwnedProcess): Promise<void> {
    const exit: ChildExit = await child.exited;
    if (exit.expected) return;
    const how = exit.signal === null ? `ended with exit code ${exit.code}` : `was ended by ${exit.signal}`;
    this.#settings.died?.(part, `${child.name} (process ${child.pid}) ${how}${child.errorLines}`);
  }
}
