/**
 * The fabric that needs nothing: a coordinator and N hosts as processes of this machine. They talk over
 * loopback, each on ports that the system gives.
 */
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { CoordinatorServiceClient } from '../proto/generated/godwit/v1/coordinator.ts';
import { callUnary, clientFor } from '../proto/rpc.ts';
import { type ChildExit, ChildProcessError, OwnedProcess } from './child-process.ts';
import type { Fabric, FabricHost } from './fabric.ts';

export interface ProcessFabricSettings {
  readonly hostCount: number;
  /** What each host may give to guests. */
  readonly memoryBytesPerHost: number;
  /** Where the coordinator keeps who owns which guest; `:memory:` when nothing has to outlive it. */
  readonly stateFile: string;
  readonly leaseMs: number;
  /** Where the coordinator listens, "address:port"; port 0 for any free one. */
  readonly listen: string;
  /** Ends the start. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Told of a process that ended without being asked to: the coordinator or a host, and a sentence about it.
   */
  readonly died?: ((part: 'coordinator' | 'host', what: string) => void) | undefined;
}

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const COORDINATOR = join(root, 'coordinator', 'main.ts');
const HOST = join(root, 'hosts', 'main.ts');
const POLL_MS = 100;

/**
 * Starts a coordinator and its hosts, and waits until all have registered.
 * @throws ChildProcessError, or the signal's reason; whatever had been started has ended then.
 */
export async function startProcessFabric(settings: ProcessFabricSettings): Promise<Fabric> {
  const coordinator = await OwnedProcess.start({
    name: 'coordinator',
    script: COORDINATOR,
    args: ['--listen', settings.listen, '--state', settings.stateFile, '--lease', `${settings.leaseMs}ms`],
    signal: settings.signal,
  });
  const fabric = new ProcessFabric(settings, coordinator);
  try {
    await fabric.startHosts();
  } catch (error) {
    await fabric.close();
    throw error;
  }
  return fabric;
}

class ProcessFabric implements Fabric {
  readonly #settings: ProcessFabricSettings;
  readonly #coordinator: OwnedProcess;
  readonly #client: CoordinatorServiceClient;
  readonly #names: readonly string[];
  readonly #hosts = new Map<string, OwnedProcess>();
  readonly #starting = new Set<Promise<void>>();
  readonly #ending = new AbortController();
  /** Ends whatever is being started or waited for. */
  readonly #stop: AbortSignal;

  constructor(settings: ProcessFabricSettings, coordinator: OwnedProcess) {
    this.#settings = settings;
    this.#coordinator = coordinator;
    this.#names = Array.from({ length: settings.hostCount }, (_, index) => `host-${index + 1}`);
    const { signal } = settings;
    this.#stop = signal === undefined ? this.#ending.signal : AbortSignal.any([signal, this.#ending.signal]);
    this.#client = clientFor(CoordinatorServiceClient, coordinator.address);
    void this.#report('coordinator', coordinator);
  }

  get coordinatorAddress(): string {
    return this.#coordinator.address;
  }

  hosts(): FabricHost[] {
    return this.#names.map((name) => {
      const { pid, running } = this.#host(name);
      return { name, pid, running };
    });
  }

  /** All at once; the first failure ends the starts of the others. */
  async startHosts(): Promise<void> {
    const failed = new AbortController();
    const starts = this.#names.map(async (name) => {
      try {
        await this.#startHost(name, AbortSignal.any([failed.signal, this.#stop]));
      } catch (error) {
        // The first reason stays.
        failed.abort(error);
      }
    });
    await Promise.all(starts);
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
  }

  #host(name: string): OwnedProcess {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}; there are ${this.#names.join(', ')}`);
    return host;
  }

  async #startHost(name: string, signal: AbortSignal): Promise<void> {
    const { memoryBytesPerHost } = this.#settings;
    const args = [
      ...['--name', name, '--coordinator', this.coordinatorAddress],
      ...['--memory', String(memoryBytesPerHost)],
      ...['--listen', '127.0.0.1:0', '--data-listen', '127.0.0.1'],
    ];
    const start = async (): Promise<void> => {
      const host = await OwnedProcess.start({ name, script: HOST, args, signal });
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
