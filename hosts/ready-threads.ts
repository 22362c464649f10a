/**
 * The threads of a host's movers and guests. A thread's start takes longer than a small guest to move, and some 60 ms
 * of processor time, which a guest that still serves clients at the source may be short of. So the host keeps a mover
 * and a guest's thread ready. A thread does one thing and ends; the next one to keep is started when no guest has
 * moved for a while, so that its start takes no processor from a migration or from a guest that has just arrived.
 */

import { Worker } from 'node:worker_threads';

/** After the last migration's end; what its clients notice is measured until 1 s after it. */
const NEXT_AFTER_MS = 1500;
const FILES = {
  mover: new URL('./migration/mover.ts', import.meta.url),
  guest: new URL('./guest-thread.ts', import.meta.url),
} as const;
/** These threads make little garbage. The default lets each one's heap grow by some MiB before it is collected. */
const YOUNG_GENERATION_MIB = 2;

/** A mover of either side; a guest's vCPU or NIC. */
export type ThreadKind = keyof typeof FILES;

/** Answers a thread that waits for its work, the first message. Its end is the caller's. */
export type TakeThread = (kind: ThreadKind) => Worker;

/** What a thread is started with. */
export interface ThreadStart {
  /** Nobody waits for it: it loads everything in advance. */
  readonly isKeptReady: boolean;
}

/** A thread of one's own (TakeThread). */
export function startThread(kind: ThreadKind): Worker {
  return start(kind, { isKeptReady: false });
}

export class ReadyThreads {
  readonly #nextAfterMs: number;
  /** Those that are kept ready; undefined: not now. */
  readonly #ready = new Map<ThreadKind, Worker | undefined>();
  readonly #start: typeof start;
  #moverCount = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param kinds of which one each is kept ready, until `close()`
   * @param nextAfterMs how long after a migration's end the next ones are started
   * @param startOne throws where the system has no more threads
   */
  constructor(kinds: readonly ThreadKind[], nextAfterMs = NEXT_AFTER_MS, startOne = start) {
    this.#nextAfterMs = nextAfterMs;
    this.#start = startOne;
    for (const kind of kinds) this.#ready.set(kind, undefined);
    this.#prepare();
  }

  /** The one that is kept ready, or a new one (TakeThread). */
  readonly take = (kind: ThreadKind): Worker => {
    const worker = this.#ready.get(kind) ?? this.#start(kind, { isKeptReady: false });
    this.#lose(kind, worker);
    if (kind === 'mover') {
      this.#moverCount++;
      worker.once('exit', () => {
        this.#moverCount--;
        this.#prepareLater();
      });
    }
    this.#prepareLater();
    return worker;
  };

  /** Ends those that are kept ready; the others have an owner. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    const ready = [...this.#ready.values()].filter((worker) => worker !== undefined);
    this.#ready.clear();
    await Promise.all(ready.map((worker) => worker.terminate()));
  }

  #prepareLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#prepare(), this.#nextAfterMs).unref();
  }

  /** Starts what is not ready, one after the other: nobody waits for it. */
  #prepare(): void {
    if (this.#moverCount > 0) return;
    const [kind] = [...this.#ready].find(([, ready]) => ready === undefined) ?? [];
    if (kind === undefined) return;
    let worker: Worker;
    // One that cannot be had in advance is no harm: who needs one starts it, and tells why not.
    try {
      worker = this.#start(kind, { isKeptReady: true });
    } catch {
      return;
    }
    this.#ready.set(kind, worker);
    const gone = (): void => this.#lose(kind, worker);
    worker.once('error', gone).once('exit', gone);
    worker.once('online', () => this.#prepare());
  }

  #lose(kind: ThreadKind, worker: Worker): void {
    if (this.#ready.get(kind) === worker) this.#ready.set(kind, undefined);
  }
}

function start(kind: ThreadKind, workerData: ThreadStart): Worker {
  const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB };
  return new Worker(FILES[kind], { name: kind, workerData, resourceLimits });
}
