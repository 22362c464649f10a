/**
 * A guest on its host, as the main thread owns it: makes its memory and threads, pauses, resumes, audits and
 * ends it. Movers pause and resume it through the control block as well, without a word to this thread, so
 * what it is doing is always read from there.
 */

import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { AuditReport, GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { firstQueuePage } from '../../proto/guest-network.ts';
import { type GuestNicSettings, NicOwner } from '../guest-nic/nic-owner.ts';
import { startThread, type TakeThread } from '../ready-threads.ts';
import { ControlBlock } from './control-block.ts';
import { GuestAudit } from './guest-audit.ts';
import { returnMemorySoon } from './memory-return.ts';
import { OperationSeries } from './operation-series.ts';
import { pageRanges, runWorker } from './page-workers.ts';
import { allocateGuest, type SharedGuest } from './shared-guest.ts';
import { VcpuThread } from './vcpu-thread.ts';
import type { FillWorkerData } from './worker-messages.ts';

const FILL_FILE = new URL('./fill.ts', import.meta.url);

interface GuestParts {
  readonly shared: SharedGuest;
  readonly audit: GuestAudit;
  readonly threads: readonly VcpuThread[];
  readonly nic: NicOwner | undefined;
}

export class Guest {
  readonly spec: GuestSpec;
  readonly control: ControlBlock;
  /** What it did since it came to this host. */
  readonly series: OperationSeries;
  /** What holds on to the guest's memory; let go of when it is destroyed. */
  #parts: GuestParts | undefined;
  readonly #failureListeners: ((error: Error) => void)[] = [];
  readonly #ending = new AbortController();
  #failure: Error | undefined;
  /** Why it came without a NIC, if so. */
  #lackedNic = '';
  #ended: Promise<void> | undefined;

  private constructor(
    spec: GuestSpec,
    ledger: 'known' | 'awaited',
    nic: GuestNicSettings | undefined,
    take: TakeThread,
  ) {
    this.spec = spec;
    const shared = allocateGuest(spec);
    this.control = new ControlBlock(shared.control, spec.vcpuCount);
    this.series = new OperationSeries(shared, () => !this.running);
    const audit = new GuestAudit(shared, this.control, ledger, this.#ending.signal);
    // The NIC first, to have a thread that is ready: it has more to do until it stands by.
    const owner = nic && new NicOwner(take('guest'), shared, nic, () => this.control.markNicEnded());
    const threads: VcpuThread[] = [];
    for (let vcpu = 0; vcpu < spec.vcpuCount; vcpu++) {
      threads.push(new VcpuThread(take('guest'), shared, vcpu, (error) => this.#threadEnded(vcpu, error)));
    }
    this.#parts = { shared, audit, threads, nic: owner };
  }

  /**
   * Makes a guest, fills its memory with its boot content and runs it.
   *
   * @param nic for a guest whose spec has a network; without it nobody connects the guest's queues
   * @throws when the memory cannot be had, a thread does not start or its clients cannot be connected; then
   *   nothing of it is left
   */
  static async create(spec: GuestSpec, nic?: GuestNicSettings): Promise<Guest> {
    const guest = await Guest.#make(spec, 'known', nic, startThread);
    await guest.#begin(async () => {
      const clients = guest.#parts?.nic?.standing();
      await Promise.all([guest.#parked(DEADLINES_MS.threadStart), guest.#fill(), clients]);
      await guest.resume();
    });
    return guest;
  }

  /**
   * Makes room for a guest that arrives: zeroed memory, and vCPU threads that will stand parked (the control
   * block's `waitParked`), so that resuming it is only a wake-up. Each vCPU loads what lies in `shared.vcpuStates` when
   * it first runs. Its NIC will stand by (`waitNic`); should it not, that is said in the log and by `nicProblem`.
   *
   * @param nic an error: why it has none; the guest comes without clients
   * @param take where its threads come from
   * @throws when the memory cannot be had
   */
  static async incoming(
    spec: GuestSpec,
    nic?: GuestNicSettings | Error,
    take: TakeThread = startThread,
  ): Promise<Guest> {
    if (!(nic instanceof Error)) return await Guest.#make(spec, 'awaited', nic, take);
    const guest = await Guest.#make(spec, 'awaited', undefined, take);
    guest.#lackedNic = nic.message;
    guest.control.markNicEnded();
    return guest;
  }

  static async #make(
    spec: GuestSpec,
    ledger: 'known' | 'awaited',
    nic: GuestNicSettings | undefined,
    take: TakeThread,
  ): Promise<Guest> {
    try {
      return new Guest(spec, ledger, spec.network && nic, take);
    } catch (error) {
      await nic?.release();
      throw error;
    }
  }

  /** Its memory and everything else that its threads share. @throws when it is destroyed */
  get shared(): SharedGuest {
    return this.#mustExist('reading').shared;
  }

  /** Aborted when it is destroyed, or has gone to another host. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether its vCPUs execute, or are about to. */
  get running(): boolean {
    return this.control.holds() === 0 && this.#failure === undefined;
  }

  /** What keeps clients from it, as far as its host knows; empty when nothing does. */
  get nicProblem(): string {
    return this.#parts?.nic?.problem ?? this.#lackedNic;
  }

  /** Why it cannot run any more, if so. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Stops all vCPUs; resolves when none executes. @throws when one failed or does not park in time */
  async pause(): Promise<void> {
    this.#mustLive('pausing');
    this.control.requestPause();
    await this.#parked(DEADLINES_MS.safepoint);
  }

  /** Takes the pause off; the vCPUs wake up at once. @throws when it has failed or is destroyed */
  async resume(): Promise<void> {
    this.#mustLive('resuming');
    this.control.resume();
  }

  /**
   * Proves page by page that memory is what the guest last wrote. It stands still meanwhile; a pause or a
   * resume by others takes effect afterwards. One audit at a time: others wait.
   *
   * @throws while pages of it are missing
   */
  async audit(): Promise<AuditReport> {
    return await this.#mustBeWhole('auditing').audit.run();
  }

  /** The digest of the ledger that travels in the pause; for an incoming guest. */
  set expectedDigest(digest: string) {
    this.#mustExist('awaiting the ledger of').audit.expectedDigest = digest;
  }

  /** The ledger of an incoming guest is in `shared.base`. */
  ledgerArrived(): void {
    this.#mustExist('taking the ledger of').audit.ledgerArrived();
  }

  /** Whether the ledger that its next audit rests on is here, as it came or recovered from memory. */
  get ledgerKnown(): boolean {
    return this.#mustExist('reading the ledger of').audit.ledgerSettled;
  }

  /**
   * The ledger will not come, since the source died: computes it from memory and holds it against the digest.
   * To be called before the guest moves on; an audit does so by itself. Answers whether memory agrees with
   * the digest.
   */
  async recoverBase(): Promise<boolean> {
    return await this.#mustBeWhole('recovering the ledger of').audit.recoverBase();
  }

  /** Calls `listener` when the guest fails; at once if it has. */
  onFailure(listener: (error: Error) => void): void {
    if (this.#failure !== undefined) listener(this.#failure);
    else this.#failureListeners.push(listener);
  }

  /**
   * The guest cannot go on: it is paused for good, and whoever asked is told why. The first reason counts.
   */
  fail(reason: unknown): void {
    if (this.#failure !== undefined || this.#ended !== undefined) return;
    const failure = reason instanceof Error ? reason : new Error(String(reason));
    this.#failure = failure;
    this.control.requestPause();
    for (const listener of this.#failureListeners.splice(0)) listener(failure);
  }

  /** Ends every thread, by force if need be. Others may hold its memory until they let go of it. */
  async destroy(): Promise<void> {
    this.#ended ??= this.#end();
    await this.#ended;
  }

  async #end(): Promise<void> {
    this.control.stop();
    this.#ending.abort(new Error('the guest is no more on this host'));
    this.series.close();
    const { threads = [], nic } = this.#parts ?? {};
    await Promise.all([...threads.map((thread) => thread.end()), nic?.end()]);
    this.#parts = undefined;
    returnMemorySoon();
  }

  /** Runs the first part of the guest's life; if that fails nothing of it is left. */
  async #begin(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.destroy();
      throw this.#failure ?? error;
    }
  }

  async #fill(): Promise<void> {
    const { shared } = this;
    const fillRange = async (range: FillWorkerData['range']): Promise<void> => {
      const workerData: FillWorkerData = { shared, range };
      await runWorker(FILL_FILE, workerData, `filling guest ${this.spec.name}`, this.#ending.signal);
    };
    await Promise.all(pageRanges(firstQueuePage(this.spec)).map(fillRange));
  }

  async #parked(withinMs: number): Promise<void> {
    try {
      await this.control.waitParkedAsync(withinMs);
    } catch (error) {
      throw this.#failure ?? error;
    }
  }

  #mustExist(doing: string): GuestParts {
    if (this.#parts !== undefined) return this.#parts;
    throw new Error(`${doing} guest ${this.spec.name}: it was destroyed`);
  }

  #mustLive(doing: string): GuestParts {
    const parts = this.#mustExist(doing);
    if (this.#failure === undefined) return parts;
    const why = `${this.#failure.message}; destroy the guest`;
    throw new Error(`${doing} guest ${this.spec.name}: ${why}`, { cause: this.#failure });
  }

  #mustBeWhole(doing: string): GuestParts {
    const parts = this.#mustLive(doing);
    const { missingPages } = this.control;
    if (missingPages === 0) return parts;
    throw new Error(`${doing} guest ${this.spec.name}: ${missingPages} pages of it have not come yet`);
  }

  #threadEnded(vcpu: number, error: Error): void {
    // Before the control block, which wakes up those who wait: they then find the reason.
    this.fail(error);
    this.control.markEnded(vcpu);
  }
}
