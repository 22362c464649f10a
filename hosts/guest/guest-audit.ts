/**
 * The audits of one guest, and what is known of the ledger that they rest on: it is known from the start for
 * a guest that was made here, and awaited for one that arrived. If it never comes, since the source died, the
 * base is computed from memory and must have the digest that came with the vCPUs' state.
 */

import type { AuditReport, PageFault } from '../../proto/generated/godwit/v1/guest.ts';
import { firstQueuePage } from '../../proto/guest-network.ts';
import { nowMs } from '../clock.ts';
import type { ControlBlock } from './control-block.ts';
import { HOLD } from './control-layout.ts';
import { AUDIT_FAULTS_MAX } from './limits.ts';
import { pageRanges, runWorker } from './page-workers.ts';
import type { SharedGuest } from './shared-guest.ts';
import { QUEUE, Virtqueue } from './virtqueue.ts';
import type { AuditFindings, AuditWorkerData, RecoverWorkerData } from './worker-messages.ts';

const AUDIT_FILE = new URL('./audit.ts', import.meta.url);
const RECOVER_FILE = new URL('./recover-base.ts', import.meta.url);

/**
 * - known: `shared.base` is what the source sent, or zero in a guest that was made here.
 * - awaited: it has not come yet.
 * - recovered: computed from memory; its digest is the one that came.
 * - refuted: computed from memory, and the digest is another, or none came.
 */
type LedgerState = 'known' | 'awaited' | 'recovered' | 'refuted';

export class GuestAudit {
  expectedDigest: string | undefined;
  readonly #shared: SharedGuest;
  readonly #control: ControlBlock;
  readonly #cancelled: AbortSignal;
  #ledger: LedgerState;
  /** The work under way: one piece at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    shared: SharedGuest,
    control: ControlBlock,
    ledger: 'known' | 'awaited',
    cancelled: AbortSignal,
  ) {
    this.#shared = shared;
    this.#control = control;
    this.#ledger = ledger;
    this.#cancelled = cancelled;
  }

  ledgerArrived(): void {
    this.#ledger = 'known';
  }

  /** Whether the base is what it will ever be. */
  get ledgerSettled(): boolean {
    return this.#ledger !== 'awaited';
  }

  /** Holds every page against the ledger while the guest stands still. */
  run(): Promise<AuditReport> {
    return this.#whileParked(() => this.#audit());
  }

  /** Sees to it that the base is there, from memory if need be; false when the digest speaks against it. */
  recoverBase(): Promise<boolean> {
    return this.#whileParked(async () => {
      await this.#settleLedger();
      return this.#ledger !== 'refuted';
    });
  }

  async #audit(): Promise<AuditReport> {
    const startMs = nowMs();
    await this.#settleLedger();
    const { spec } = this.#shared;
    const versions = this.#ledger === 'refuted' ? 'memory' : 'ledger';
    const findings = await Promise.all(
      pageRanges(firstQueuePage(spec)).map((range) => {
        const workerData: AuditWorkerData = { shared: this.#shared, range, versions };
        return this.#work<AuditFindings>(AUDIT_FILE, workerData, `auditing guest ${spec.name}`);
      }),
    );
    const faults = findings.flatMap((part) =>
      part.faults.map((fault): PageFault => ({ ...fault, page: BigInt(fault.page) })),
    );
    let faultCount = findings.reduce((sum, part) => sum + part.faultCount, 0);
    const queueFaults = this.#queueFaults();
    faults.push(...queueFaults);
    faultCount += queueFaults.length;
    if (this.#ledger === 'refuted') {
      faults.unshift(this.#digestFault());
      faultCount++;
    }
    return {
      pagesChecked: BigInt(findings.reduce((sum, part) => sum + part.pagesChecked, 0)),
      faults: faults.slice(0, AUDIT_FAULTS_MAX),
      faultCount: BigInt(faultCount),
      evidence: this.#ledger === 'known' ? 'ledger' : 'digest',
      durationMs: nowMs() - startMs,
    };
  }

  /** The NIC's pages hold what clients say, of which nothing can be known but that the queues are sound. */
  #queueFaults(): PageFault[] {
    if (this.#shared.spec.network === undefined) return [];
    return [QUEUE.REQUESTS, QUEUE.RESPONSES].flatMap((queue): PageFault[] => {
      const problem = new Virtqueue(this.#shared, queue).problem();
      return problem === undefined
        ? []
        : [{ page: BigInt(problem.page), kind: 'queue', detail: problem.detail }];
    });
  }

  /** Afterwards the ledger is known, recovered or refuted. The guest stands still. */
  async #settleLedger(): Promise<void> {
    if (this.#ledger !== 'awaited') return;
    const { spec } = this.#shared;
    let agrees = false;
    if (this.expectedDigest !== undefined) {
      const workerData: RecoverWorkerData = { shared: this.#shared, digest: this.expectedDigest };
      agrees = await this.#work<boolean>(RECOVER_FILE, workerData, `recovering the ledger of ${spec.name}`);
    }
    // It may have come in the meantime.
    if (this.#ledger === 'awaited') this.#ledger = agrees ? 'recovered' : 'refuted';
  }

  #digestFault(): PageFault {
    const detail =
      this.expectedDigest === undefined
        ? 'neither the ledger nor its digest came from the source'
        : `the versions in memory on arrival do not have the digest ${this.expectedDigest} ` +
          "of the source's ledger: some page was not the last that the source had";
    return { page: 0n, kind: 'digest', detail };
  }

  #work<Answer>(file: URL, workerData: unknown, what: string): Promise<Answer> {
    return runWorker<Answer>(file, workerData, what, this.#cancelled);
  }

  /**
   * Does `work` while no vCPU executes, whoever pauses or resumes the guest meanwhile; after what was begun
   * before.
   */
  #whileParked<Answer>(work: () => Promise<Answer>): Promise<Answer> {
    const turn = this.#last.then(async () => {
      this.#control.requestPause(HOLD.AUDIT);
      try {
        await this.#control.waitParkedAsync();
        return await work();
      } finally {
        this.#control.resume(HOLD.AUDIT);
      }
    });
    this.#last = turn.catch(() => {});
    return turn;
  }
}
