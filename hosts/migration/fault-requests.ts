/** Faults become REQUESTs: one for each page, whoever waits for it, on each connection. */

import type { MissingPages } from '../guest/missing-pages.ts';
import type { ChannelSender } from './channel-sender.ts';
import { PageSet } from './page-set.ts';

export class FaultRequests {
  readonly #counts: { requests: number };
  readonly #missing: MissingPages;
  readonly #pageCount: number;
  /** Asked for on the connection as it is now. */
  #requested: PageSet;
  /** The connection that is asked. */
  #source: ChannelSender | undefined;

  /** @param counts whose `requests` is raised for each page asked for, once for each link */
  constructor(missing: MissingPages, pageCount: number, counts: { requests: number }) {
    this.#counts = counts;
    this.#missing = missing;
    this.#pageCount = pageCount;
    this.#requested = new PageSet(pageCount);
  }

  /** From now on faults are asked for there, also those that were asked for on a connection that was lost. */
  ask(source: ChannelSender): void {
    const isFirst = this.#source === undefined;
    this.#source = source;
    this.#requested = new PageSet(this.#pageCount);
    this.#request();
    if (isFirst) void this.#answerBell();
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
    this.#counts.requests += pages.length;
    this.#source?.send('REQUEST', { pages });
  }
}
