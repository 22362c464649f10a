/**
 * What a migration asks the guest's kernel about its free pages, and the reports that come back:
 * virtio-balloon's free page hints, and its balloon (VIRTIO_BALLOON_F_FREE_PAGE_HINT; Wang, 2018). Beside the
 * numbers of free-list.ts.
 *
 * The mover writes a command with a number of its own; the kernel, on vCPU 0, answers it block by block in a
 * queue, and each block names the command that it answers. So a report that is late, since the mover has
 * stopped its command or begun another one, is known for what it is and counts for nothing: it may name pages
 * that are in use by now.
 *
 *   mover: 1. stops: stores NOTHING                    vCPU 0: a. loads the command
 *          2. takes the dirty marks off, handshake             b. reads the free list, puts blocks in the queue
 *          3. stores a new command, wakes vCPU 0                  with the command that it loaded
 *          4. takes blocks out, leaves those pages out
 *
 * A block of the command of step 3 was made after 3, so its pages were free after 2: what is written there afterwards
 * is marked. With 2 after 3, or without the command's number, a page is lost that was taken into use in between;
 * test/property/free-pages.test.ts shows both, and test/stress/free-pages.test.ts the first on real threads.
 *
 * No wake-up is lost: see the NIC's kick in control-block.ts, of which this is one.
 */

import {
  BLOCK_COUNT,
  blockOffset,
  COMMAND,
  INFLATIONS,
  LAST_NUMBER,
  PUT,
  TAKEN,
} from './free-list-layout.ts';
import { NicControl } from './nic-control.ts';
import type { RunVisitor } from './page-table.ts';
import type { SharedGuest } from './shared-guest.ts';

/** What is asked; a command is one of them and, above these bits, its number. */
export const FREE_COMMAND = {
  NOTHING: 0,
  /** Which pages are free now? */
  REPORT: 1,
  /** Give back what is free, again and again. */
  BALLOON: 2,
} as const;
type Asked = (typeof FREE_COMMAND)[keyof typeof FREE_COMMAND];

const KIND_BITS = 2;
const KIND_MASK = 2 ** KIND_BITS - 1;

/** vCPU 0's side. */
export class FreeReporter {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor({ freeList }: Pick<SharedGuest, 'freeList'>) {
    this.#words = new Int32Array(freeList);
  }

  /** The command that stands now. */
  get command(): number {
    return Atomics.load(this.#words, COMMAND);
  }

  /** What it asks. */
  static askedBy(command: number): Asked {
    return (command & KIND_MASK) as Asked;
  }

  /** Answers a command with one block; false when the queue has no room. */
  put(command: number, firstPage: number, pageCount: number): boolean {
    const words = this.#words;
    const count = words[PUT] as number;
    if (((count - Atomics.load(words, TAKEN)) | 0) >= BLOCK_COUNT) return false;
    words.set([command, firstPage, pageCount], blockOffset(count));
    Atomics.store(words, PUT, (count + 1) | 0);
    return true;
  }

  /** The balloon was looked after. */
  inflated(): void {
    Atomics.add(this.#words, INFLATIONS, 1);
    Atomics.notify(this.#words, INFLATIONS);
  }
}

/** The mover's side, or that of who looks after a guest whose mover is no more. */
export class FreeQuestions {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #control: NicControl;

  constructor({ freeList, control }: Pick<SharedGuest, 'freeList' | 'control'>) {
    this.#words = new Int32Array(freeList);
    this.#control = new NicControl(control);
  }

  /** Asks; what was asked before counts no more. */
  ask(kind: Exclude<Asked, 0>): void {
    const number = Atomics.add(this.#words, LAST_NUMBER, 1) + 1;
    Atomics.store(this.#words, COMMAND, (number << KIND_BITS) | kind);
    this.#control.kick();
  }

  /** From now on no report counts. */
  stop(): void {
    if (Atomics.exchange(this.#words, COMMAND, FREE_COMMAND.NOTHING) !== 0) this.#control.kick();
  }

  /** Takes out what was reported so far; visits what answers the command that stands. */
  take(visit: RunVisitor): void {
    const words = this.#words;
    const command = Atomics.load(words, COMMAND);
    let count = words[TAKEN] as number;
    for (const put = Atomics.load(words, PUT); count !== put; count = (count + 1) | 0) {
      const offset = blockOffset(count);
      if (words[offset] === command) visit(words[offset + 1] as number, words[offset + 2] as number);
    }
    Atomics.store(words, TAKEN, count);
  }

  /** How often the balloon was looked after; to be read before it is asked for. */
  get inflations(): number {
    return Atomics.load(this.#words, INFLATIONS);
  }

  /** Resolves when the balloon was looked after since `inflations` was read, or when its time is up. */
  async inflated(inflations: number, withinMs: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#words, INFLATIONS, inflations, withinMs);
    if (wait.async) await wait.value;
  }
}
