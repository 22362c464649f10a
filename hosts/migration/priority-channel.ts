/** The mover's hold on the thread that owns the priority channel (fault-thread.ts). */

import { Worker } from 'node:worker_threads';
import { errorText } from '../../proto/errors.ts';
import type { TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import { WireViolation } from './channel-receiver.ts';
import type { FaultThreadData, FromFaultThread, ToFaultThread } from './messages.ts';
import { type PriorityCounts, priorityCounts } from './priority-counts.ts';

const FAULT_THREAD_FILE = new URL('./fault-thread.ts', import.meta.url);

export interface PriorityChannelHooks {
  /** The source has welcomed the channel. */
  welcome(): void;
  /** The last missing page has come on it. */
  complete(): void;
  /** What came on it is not allowed. */
  refused(error: WireViolation): void;
  /** The connection, or its thread, is lost. */
  lost(error: Error): void;
}

export class PriorityChannel {
  readonly counts: PriorityCounts;
  readonly #worker: Worker;
  /** Whether the source has welcomed the connection as it is now. */
  isWelcomed = false;
  /** Which connection it is: what is said of an earlier one does not count. */
  #link = 0;

  constructor(data: Omit<FaultThreadData, 'counts'>, hooks: PriorityChannelHooks) {
    const counts = priorityCounts();
    this.counts = counts;
    const workerData: FaultThreadData = { ...data, counts: counts.shared };
    this.#worker = new Worker(FAULT_THREAD_FILE, { name: 'faults', workerData });
    this.#worker.on('message', (message: FromFaultThread) => this.#onMessage(message, hooks));
    this.#worker.once('error', (error) => {
      hooks.lost(new Error(`the thread for demanded pages has ended: ${errorText(error)}`));
    });
  }

  /** Opens the connection, in place of the one before. */
  connect(): void {
    this.#link++;
    this.isWelcomed = false;
    this.#tell({ type: 'connect', link: this.#link });
  }

  /** The guest runs here: from now on faults are asked for. */
  ask(): void {
    this.#tell({ type: 'ask' });
  }

  /** @param opened what the mover's own channels have opened of sealed records; answers it with this one's */
  withOpened(opened: TransformReport): TransformReport {
    const { sealedBytes, openedBytes, openingCpuS, openingMs } = this.counts;
    return {
      ...opened,
      bytesIn: opened.bytesIn + BigInt(sealedBytes),
      bytesOut: opened.bytesOut + BigInt(openedBytes),
      cpuS: opened.cpuS + openingCpuS,
      timeMs: opened.timeMs + openingMs,
    };
  }

  /** Closes the connection, if it is open: there may be another one later. */
  hangUp(): void {
    this.#link++;
    this.isWelcomed = false;
    this.#tell({ type: 'hang-up' });
  }

  end(): void {
    void this.#worker.terminate();
  }

  #tell(message: ToFaultThread): void {
    this.#worker.postMessage(message);
  }

  #onMessage(message: FromFaultThread, hooks: PriorityChannelHooks): void {
    if (message.type === 'complete') {
      hooks.complete();
      return;
    }
    if (message.link !== this.#link) return;
    if (message.type === 'welcome') {
      this.isWelcomed = true;
      hooks.welcome();
    } else if (message.isRefused) hooks.refused(new WireViolation(message.reason));
    else hooks.lost(new Error(message.reason));
  }
}
