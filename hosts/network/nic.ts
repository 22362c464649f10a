/**
 * A host's NIC: what the main thread says to the relay thread that shapes the host's traffic. A host without
 * a shape has none: its connections go directly.
 */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { LinkFault, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { linkFaultProblem, networkShapeProblems } from '../../proto/network-shape.ts';
import { relayProblems } from './backend-plan.ts';
import type {
  NicStats,
  RelayAnswer,
  RelayQuestion,
  RelayRequest,
  RelayWorkerData,
} from './relay-messages.ts';

interface Waiter {
  readonly resolve: (answer: RelayAnswer) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Nic {
  readonly #worker: Worker;
  readonly #waiters = new Map<number, Waiter>();
  #nextId = 1;
  #ended = false;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (answer: RelayAnswer) => this.#answered(answer));
    worker.on('error', (cause) =>
      this.#end(new Error(`the NIC's thread failed: ${String(cause)}`, { cause })),
    );
    worker.on('exit', () => this.#end(new Error("the NIC's thread has ended")));
  }

  /**
   * Starts a NIC that shapes nothing yet.
   *
   * @param seed decides the jitter
   * @throws Error when its thread does not start
   */
  static async start(seed = 0): Promise<Nic> {
    const workerData: RelayWorkerData = { seed };
    const worker = new Worker(new URL('./relay-thread.ts', import.meta.url), { workerData, name: 'nic' });
    const nic = new Nic(worker);
    try {
      await nic.#ask('start the NIC', { kind: 'stats' }, DEADLINES_MS.threadStart);
    } catch (error) {
      await worker.terminate();
      throw error;
    }
    return nic;
  }

  /**
   * Shapes all traffic of the NIC from now on; what is on its way keeps its delay.
   *
   * @throws Error when the shape is wrong, or asks for what a relay cannot do (loss)
   */
  async setShape(shape: NetworkShape): Promise<void> {
    const problems = [...networkShapeProblems(shape), ...relayProblems(shape)];
    if (problems.length > 0) throw new Error(`the NIC's shape is refused: ${problems.join('; ')}`);
    await this.#ask('shape the NIC', { kind: 'shape', shape });
  }

  /** Ends the fault before and begins this one. @throws Error when there is no such fault */
  async setFault(fault: LinkFault): Promise<void> {
    const problem = linkFaultProblem(fault);
    if (problem !== undefined) throw new Error(`the NIC's fault is refused: ${problem}`);
    await this.#ask('set a fault of the NIC', { kind: 'fault', fault });
  }

  /**
   * Opens a port for others: what comes to it passes the NIC inwards, to `127.0.0.1:localPort`.
   *
   * @param listenAddress the address at which others reach this host
   * @param peer the host that will connect, whose own shape is met in addition; empty for any
   * @returns the port; `release` closes it
   */
  async expose(localPort: number, listenAddress: string, peer: string): Promise<number> {
    const question = { kind: 'expose', localPort, listenAddress, peer } as const;
    return (await this.#ask(`expose port ${localPort} at ${listenAddress} to ${peer || 'all'}`, question))
      .port!;
  }

  /**
   * Opens a port of this host (127.0.0.1) whose connections pass the NIC outwards, to `address:port`.
   *
   * @returns the port; `release` closes it
   */
  async dial(address: string, port: number, peer: string): Promise<number> {
    const what = `lead connections to ${address}:${port} (${peer || 'no peer'})`;
    return (await this.#ask(what, { kind: 'dial', address, port, peer })).port!;
  }

  /** Closes a port of `expose` or `dial`; connections that stand go on. */
  async release(port: number): Promise<void> {
    await this.#ask(`release port ${port}`, { kind: 'release', port });
  }

  async stats(): Promise<NicStats> {
    return (await this.#ask("read the NIC's counters", { kind: 'stats' })).stats!;
  }

  /** Resets all connections and ends the thread. May be called twice. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const exited = once(this.#worker, 'exit');
    const impatience = setTimeout(() => void this.#worker.terminate(), DEADLINES_MS.query);
    try {
      await this.#ask('close the NIC', { kind: 'close' });
    } catch {
      // It is ended the hard way.
      await this.#worker.terminate();
    }
    await exited;
    clearTimeout(impatience);
  }

  async #ask(what: string, question: RelayQuestion, withinMs = DEADLINES_MS.query): Promise<RelayAnswer> {
    if (this.#ended) throw new Error(`${what}: the NIC is closed`);
    const id = this.#nextId++;
    const answer = await new Promise<RelayAnswer>((resolve, reject) => {
      const late = new Error(`${what}: no answer in ${withinMs} ms; on a slow machine raise GODWIT_PATIENCE`);
      const timer = setTimeout(() => {
        this.#waiters.delete(id);
        reject(late);
      }, withinMs);
      this.#waiters.set(id, { resolve, reject, timer });
      this.#worker.postMessage({ id, question } satisfies RelayRequest);
    });
    if (answer.problem !== undefined) throw new Error(`${what}: ${answer.problem}`);
    return answer;
  }

  #answered(answer: RelayAnswer): void {
    const waiter = this.#waiters.get(answer.id);
    this.#waiters.delete(answer.id);
    clearTimeout(waiter?.timer);
    waiter?.resolve(answer);
  }

  #end(error: Error): void {
    this.#ended = true;
    for (const { reject, timer } of this.#waiters.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiters.clear();
  }
}
