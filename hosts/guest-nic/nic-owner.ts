/**
 * A guest's NIC as the main thread owns it: gives its thread the work, hears of its troubles, and ends it. Whatever
 * becomes of the thread, the guest goes on: without clients, and that is said once, in the host's log.
 */

import type { Worker } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import type { SharedGuest } from '../guest/shared-guest.ts';
import type { Endpoint } from '../network-path.ts';
import { PROBLEM_CHARACTERS_MAX } from './limits.ts';
import type { FromNic, NicWork, ToNic } from './nic-messages.ts';

const CLOSE: ToNic = 'close';

/** What a host gives to the NIC of a guest. */
export interface GuestNicSettings {
  /** The ownership epoch under which the guest runs here, or will. */
  readonly epoch: number;
  /** With a forwarder: where it is, as reached through the host's NIC. */
  readonly dial?: Endpoint;
  /** The device that carries the host's traffic. */
  readonly device: string;
  /** Called once, when the NIC is no more. */
  release(): Promise<void>;
}

export class NicOwner {
  readonly #guest: string;
  readonly #settings: GuestNicSettings;
  readonly #worker: Worker;
  readonly #standing = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  #isEnding = false;
  #killer: NodeJS.Timeout | undefined;
  #problem = '';

  /**
   * @param worker a guest's thread, which waits for its work
   * @param shared of a guest whose spec has a network
   * @param ended called once when the thread is no more, by `end` or not
   */
  constructor(worker: Worker, shared: SharedGuest, settings: GuestNicSettings, ended: () => void) {
    const { name: guest, network } = shared.spec;
    if (network === undefined) throw new Error(`guest ${guest} has no network`);
    this.#guest = guest;
    this.#settings = settings;
    const { epoch, dial, device } = settings;
    const work: NicWork = { role: 'nic', shared, uplink: { guest, network, epoch, dial, device } };
    this.#worker = worker;
    worker.postMessage(work);
    this.#standing.promise.catch(() => {});
    let cause: unknown;
    this.#worker.on('message', (message: FromNic) => this.#onMessage(message));
    this.#worker.once('error', (error) => {
      cause = error;
    });
    this.#worker.once('exit', (code) => {
      clearTimeout(this.#killer);
      ended();
      if (!this.#isEnding)
        this.#fail(cause === undefined ? `its thread ended with ${code}` : errorText(cause));
      this.#standing.reject(new Error(this.#problem));
      this.#closed.resolve();
    });
  }

  /** Resolves when clients can be served as soon as the guest runs. @throws when they cannot, or not in time */
  async standing(): Promise<void> {
    const withinMs = DEADLINES_MS.uplink;
    const timer = setTimeout(() => {
      this.#fail(`it does not stand by after ${withinMs} ms; on a slow machine raise GODWIT_PATIENCE`);
      this.#standing.reject(new Error(this.#problem));
    }, withinMs);
    try {
      await this.#standing.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** What keeps clients from the guest; empty when nothing does. */
  get problem(): string {
    return this.#problem;
  }

  /**
   * Ends the NIC, by force if need be. Its thread may stay until what it sent last has reached the forwarder, which is
   * not waited for. Not twice.
   */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#killer = setTimeout(() => void this.#worker.terminate(), DEADLINES_MS.processStop).unref();
    this.#worker.postMessage(CLOSE);
    await this.#closed.promise;
    await this.#settings.release();
  }

  #onMessage(message: FromNic): void {
    if (message.type === 'closed') {
      this.#closed.resolve();
      return;
    }
    if (message.problem) this.#fail(message.problem);
    else this.#recovered();
    if (message.type === 'trouble') return;
    if (message.problem === undefined) this.#standing.resolve();
    else this.#standing.reject(new Error(this.#problem));
  }

  #recovered(): void {
    if (this.#problem === '') return;
    this.#problem = '';
    process.stderr.write(`godwit host: the NIC of guest ${this.#guest}: clients reach it again\n`);
  }

  #fail(problem: string): void {
    this.#problem = `the NIC of guest ${this.#guest}: ${problem}`.slice(0, PROBLEM_CHARACTERS_MAX);
    process.stderr.write(`godwit host: ${this.#problem}\n`);
  }
}
