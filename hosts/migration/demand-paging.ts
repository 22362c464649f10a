/**
 * The destination's part of post-copy: what MISSING says is taken away from the guest before it runs, faults
 * become REQUESTs, one for each page whoever waits for it, and a page that comes is given to those that wait.
 */

import { workloadPageCount } from '../../proto/guest-network.ts';
import { nowMs } from '../clock.ts';
import { MissingPages } from '../guest/missing-pages.ts';
import { pageCountOf, type SharedGuest } from '../guest/shared-guest.ts';
import { WireViolation } from './channel-receiver.ts';
import type { ChannelSender } from './channel-sender.ts';
import { NO_PAGE, PageSet } from './page-set.ts';
import type { Body, PageFrame } from './wire.ts';

export class DemandPaging {
  /** Every page is here. */
  readonly complete = Promise.withResolvers<void>();
  /** Pages asked for, each once for each link; and those that were placed. */
  requests = 0;
  placedPages = 0;
  /** 0 until every page is here. */
  completeAtMs = 0;
  readonly #missing: MissingPages;
  readonly #pageCount: number;
  /** The pages from here on are the queues of the NIC. */
  readonly #mayLackPages: number;
  /** Asked for on the connection as it is now. */
  #requested: PageSet;
  /** The connection that is asked. */
  #source: ChannelSender | undefined;
  #isActive = false;

  constructor(shared: SharedGuest) {
    this.#missing = new MissingPages(shared);
    this.#pageCount = pageCountOf(shared.spec);
    this.#mayLackPages = workloadPageCount(shared.spec);
    this.#requested = new PageSet(this.#pageCount);
  }

  /** Whether the guest is to run before it is whole. */
  get isActive(): boolean {
    return this.#isActive;
  }

  /** How many pages have not come. */
  get missingPages(): number {
    return this.#missing.count;
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
    for (let page = 0; page < this.#pageCount; page++) {
      const firstPage = page;
      while (page < this.#pageCount && !lacking.has(page)) page++;
      if (page > firstPage) this.#missing.arrived(firstPage, page - firstPage);
    }
  }

  /** Refuses pages that are here: the guest may have written them since. @throws WireViolation */
  mustLack({ runs }: PageFrame): void {
    for (const { firstPage, pageCount } of runs) {
      for (let page = firstPage; page < firstPage + pageCount; page++) {
        if (!this.#missing.has(page)) throw new WireViolation(`page ${page} came though it is here`);
      }
    }
  }

  /** The pages of a frame are in memory. */
  placed({ runs }: PageFrame): void {
    for (const { firstPage, pageCount } of runs) {
      this.#missing.arrived(firstPage, pageCount);
      this.placedPages += pageCount;
    }
    this.#whenComplete();
  }

  #whenComplete(): void {
    if (this.#missing.count > 0) return;
    this.completeAtMs ||= nowMs();
    this.complete.resolve();
  }

  /** From now on faults are asked for there, also those that were asked for on a connection that was lost. */
  ask(source: ChannelSender): void {
    const isFirst = this.#source === undefined;
    this.#source = source;
    this.#requested = new PageSet(this.#pageCount);
    this.#request();
    if (isFirst) void this.#answerBell();
    // A hybrid may have nothing to wait for.
    this.#whenComplete();
  }

  /** What has not come. */
  lacking(): PageSet {
    const lacking = new PageSet(this.#pageCount);
    for (let page = 0; page < this.#pageCount; page++) if (this.#missing.has(page)) lacking.add(page);
    return lacking;
  }

  /** For as long as pages are missing; it ends with the thread otherwise. */
  async #answerBell(): Promise<void> {
    while (this.#missing.count > 0) {
      const { bell } = this.#missing;
      this.#request();
      await this.#missing.rung(bell);
    }
  }

  #request(): void {
    const pages = [...this.#missing.awaited()].filter((page) => this.#requested.add(page));
    if (pages.length === 0) return;
    this.requests += pages.length;
    this.#source?.send('REQUEST', { pages });
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
