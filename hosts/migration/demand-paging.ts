/**
 * The mover's part of post-copy at the destination: what MISSING says is taken away from the guest before it runs, and
 * a page that comes is given to those that wait for it. Asking for pages is fault-requests.ts, in this thread or, with
 * a priority channel, in one of its own (fault-thread.ts).
 */

import { firstQueuePage } from '../../proto/guest-network.ts';
import { nowMs } from '../clock.ts';
import { MissingPages } from '../guest/missing-pages.ts';
import { pageCountOf, type SharedGuest } from '../guest/shared-guest.ts';
import { WireViolation } from './channel-receiver.ts';
import type { ChannelSender } from './channel-sender.ts';
import { FaultRequests } from './fault-requests.ts';
import { NO_PAGE, PageSet } from './page-set.ts';
import type { PriorityCounts } from './priority-counts.ts';
import type { Body, PageFrame } from './wire.ts';

export class DemandPaging {
  /** Every page is here. */
  readonly complete = Promise.withResolvers<void>();
  /** 0 until every page is here. */
  completeAtMs = 0;
  readonly #missing: MissingPages;
  readonly #pageCount: number;
  /** The pages from here on are the queues of the NIC. */
  readonly #mayLackPages: number;
  /** Of this thread. */
  readonly #counts = { requests: 0, placedPages: 0 };
  readonly #requests: FaultRequests;
  readonly #priority: PriorityCounts | undefined;
  #isActive = false;

  /** @param priority what the thread for demanded pages counts, if there is one: it asks for them then */
  constructor(shared: SharedGuest, priority?: PriorityCounts) {
    this.#missing = new MissingPages(shared);
    this.#pageCount = pageCountOf(shared.spec);
    this.#mayLackPages = firstQueuePage(shared.spec);
    this.#requests = new FaultRequests(this.#missing, this.#pageCount, this.#counts);
    this.#priority = priority;
  }

  /** Pages asked for, each once for each link. */
  get requests(): number {
    return this.#counts.requests + (this.#priority?.requests ?? 0);
  }

  /** Pages that were placed since the guest runs here. */
  get placedPages(): number {
    return this.#counts.placedPages + (this.#priority?.placedPages ?? 0);
  }

  /** Whether the guest is to run before it is whole. */
  get isActive(): boolean {
    return this.#isActive;
  }

  /** How many pages have not come. */
  get missingPages(): number {
    return this.#missing.count;
  }

  /** Whether a page has not come, which the guest is to run without. */
  isMissing(page: number): boolean {
    return this.#missing.has(page);
  }

  /** MISSING came: the guest does not run yet. @throws WireViolation */
  begin({ pages }: Body<'MISSING'>, bitmap: Uint8Array): void {
    if (this.#isActive) throw new WireViolation('MISSING came twice');
    this.#isActive = true;
    const isAll = bitmap.byteLength === 0 && pages === this.#pageCount;
    const lacking = isAll ? PageSet.all(pages) : missingSet(this.#pageCount, bitmap);
    if (lacking.size !== pages) {
      throw new WireViolation(`MISSING announces ${pages} pages and names ${lacking.size}`);
    }
    if (lacking.atOrAfter(this.#mayLackPages) !== NO_PAGE) {
      throw new WireViolation("MISSING names the queues of the guest's NIC, which may not wait");
    }
    // The guest is paused: whichever takes fewer steps.
    if (pages <= this.#pageCount / 2) {
      for (const page of pagesOf(lacking)) this.#missing.add(page);
      return;
    }
    this.#missing.addAll();
    let firstPage = lacking.absentFrom(0);
    while (firstPage < this.#pageCount) {
      const next = lacking.atOrAfter(firstPage);
      const end = next === NO_PAGE ? this.#pageCount : next;
      this.#missing.arrived(firstPage, end - firstPage);
      firstPage = lacking.absentFrom(end);
    }
  }

  /** Refuses pages that are here: the guest may have written them since. @throws WireViolation */
  mustLack({ runs }: PageFrame): void {
    const present = this.#missing.presentOf(runs);
    if (present !== undefined) throw new WireViolation(`page ${present} came though it is here`);
  }

  /** The pages of a frame are in memory. */
  placed({ runs }: PageFrame): void {
    for (const { pageCount } of runs) this.#counts.placedPages += pageCount;
    this.#missing.placed(runs);
    this.whenComplete();
  }

  /** To be called when the last page may have come. */
  whenComplete(): void {
    if (this.#missing.count > 0) return;
    this.completeAtMs ||= nowMs();
    this.complete.resolve();
  }

  /** From now on faults are asked for there; without a thread for that. */
  ask(source: ChannelSender): void {
    this.#requests.ask(source);
  }

  /** What has not come. */
  lacking(): PageSet {
    const lacking = new PageSet(this.#pageCount);
    for (let page = 0; page < this.#pageCount; page++) if (this.#missing.has(page)) lacking.add(page);
    return lacking;
  }
}

function missingSet(pageCount: number, bitmap: Uint8Array): PageSet {
  try {
    return PageSet.fromBitmap(pageCount, bitmap);
  } catch (error) {
    throw new WireViolation(`MISSING: ${(error as Error).message}`);
  }
}

function* pagesOf(set: PageSet): Generator<number> {
  for (let page = set.atOrAfter(0); page !== NO_PAGE; page = set.atOrAfter(page + 1)) yield page;
}
