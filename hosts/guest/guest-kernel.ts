/**
 * What a guest's kernel does with its free pages, on vCPU 0 and besides the workload: it takes pages into use
 * and frees them at the rate that the spec says, reports which are free when a migration asks
 * (free-reports.ts), and gives them back when it is asked for that: dynamic self-ballooning (Hines and Gopalan,
 * VEE 2009). Pages that were given back it takes back when it needs them, and all of them when nobody asks any
 * more.
 */

import { poolPageCount } from '../../proto/guest-network.ts';
import { nowMs } from '../clock.ts';
import { FreeList } from './free-list.ts';
import { FREE_COMMAND, FreeReporter } from './free-reports.ts';
import { KERNEL_LIMITS } from './limits.ts';
import { SERVING_VCPU } from './nic-control.ts';
import type { SharedGuest } from './shared-guest.ts';
import type { VcpuMemory } from './vcpu-memory.ts';

const MS_PER_S = 1000;
const UNSEEN = -1;
/** The vCPU that does it: the one that a migration can wake up, as the NIC does. */
export const KERNEL_VCPU = SERVING_VCPU;

export class GuestKernel {
  readonly #list: FreeList;
  readonly #reporter: FreeReporter;
  readonly #memory: VcpuMemory;
  readonly #pagesPerS: number;
  /** The command that is being carried out. None has been seen yet, and a balloon may have come with the guest. */
  #command = UNSEEN;
  /** The places of the list that are still to be reported. */
  #reported = { next: 0, end: 0 };
  #nextInflationMs = 0;

  /** Undefined for a guest that has no free pages. */
  static of(shared: SharedGuest, memory: VcpuMemory): GuestKernel | undefined {
    return poolPageCount(shared.spec) === 0 ? undefined : new GuestKernel(shared, memory);
  }

  private constructor(shared: SharedGuest, memory: VcpuMemory) {
    this.#list = new FreeList(shared);
    this.#reporter = new FreeReporter(shared);
    this.#memory = memory;
    this.#pagesPerS = shared.spec.content?.freeChurnPagesPerS ?? 0;
  }

  /** Whether a command waits that it has not seen. */
  get isAsked(): boolean {
    return this.#reporter.command !== this.#command;
  }

  /** Does some of what is due, at most some 50 microseconds of work. Whether there was anything. */
  work(guestTimeMs: number): boolean {
    const isAsked = this.isAsked;
    if (isAsked) this.#begin(this.#reporter.command);
    const hasReported = this.#report();
    const hasInflated = this.#lookAfterBalloon();
    return this.#churn(guestTimeMs) || hasReported || hasInflated || isAsked;
  }

  /** How long there is nothing to do for it, unless it is asked; Infinity when there never is. */
  sleepMs(guestTimeMs: number): number {
    const { reportRetryMs } = KERNEL_LIMITS;
    const reportMs = this.#reported.next < this.#reported.end ? reportRetryMs : Number.POSITIVE_INFINITY;
    const churnMs =
      this.#pagesPerS === 0
        ? Number.POSITIVE_INFINITY
        : ((this.#list.allocated + 1) * MS_PER_S) / this.#pagesPerS - guestTimeMs;
    const balloonMs = this.#isBallooning ? this.#nextInflationMs - nowMs() : Number.POSITIVE_INFINITY;
    return Math.max(Math.min(reportMs, churnMs, balloonMs), 0);
  }

  get #isBallooning(): boolean {
    return FreeReporter.askedBy(this.#command) === FREE_COMMAND.BALLOON;
  }

  #begin(command: number): void {
    const list = this.#list;
    this.#command = command;
    const asked = FreeReporter.askedBy(command);
    const isReport = asked === FREE_COMMAND.REPORT;
    this.#reported = isReport
      ? { next: list.allocated, end: list.freed + list.pageCount }
      : { next: 0, end: 0 };
    this.#nextInflationMs = nowMs();
    if (asked !== FREE_COMMAND.BALLOON) list.deflate(list.pageCount);
  }

  /** Block by block, as far as the queue has room. */
  #report(): boolean {
    const reported = this.#reported;
    if (reported.next >= reported.end) return false;
    // What was taken into use since it began is not free any more.
    reported.next = Math.max(reported.next, this.#list.allocated);
    const before = reported.next;
    for (let blocks = 0; blocks < KERNEL_LIMITS.blocksAtOnce && reported.next < reported.end; blocks++) {
      const end = Math.min(reported.next + KERNEL_LIMITS.blockPagesMax, reported.end);
      let isTaken = true;
      this.#list.visitPlaces(reported.next, end, (firstPage, pageCount) => {
        isTaken &&= this.#reporter.put(this.#command, firstPage, pageCount);
        if (isTaken) reported.next += pageCount;
      });
      if (!isTaken) break;
    }
    return reported.next > before;
  }

  #lookAfterBalloon(): boolean {
    if (!this.#isBallooning || nowMs() < this.#nextInflationMs) return false;
    this.#nextInflationMs = nowMs() + KERNEL_LIMITS.balloonIntervalMs;
    const { pageCount } = this.#list;
    const { balloonReservePagesMax, balloonReserveShare } = KERNEL_LIMITS;
    this.#list.inflate(Math.min(balloonReservePagesMax, Math.floor(pageCount * balloonReserveShare)));
    this.#reporter.inflated();
    return true;
  }

  /** Takes pages into use that are due, and frees the oldest. */
  #churn(guestTimeMs: number): boolean {
    if (this.#pagesPerS === 0) return false;
    const list = this.#list;
    const due = Math.floor((guestTimeMs * this.#pagesPerS) / MS_PER_S);
    const end = Math.min(due, list.allocated + KERNEL_LIMITS.allocationsAtOnce);
    let hasTaken = false;
    for (let next = list.allocated; next < end; next++) {
      if (next - list.freed >= list.usedPagesMax) list.free();
      if (next >= list.balloonFrom && next < list.balloonTo) list.deflate(KERNEL_LIMITS.deflatePages);
      // A page that has not come yet is waited for before it is counted as in use: an audit may come in between.
      this.#memory.await(list.pageAt(next));
      this.#memory.fill(list.allocate(), next);
      hasTaken = true;
    }
    return hasTaken;
  }
}
