/**
 * What this host lends of its guests' contents to migrations that come in, when they ask for it (dedup with the
 * scope gang or host): the index of contents, and the guests' memory. Off unless asked for: that a guest's page
 * needs not be sent tells who moves it that a guest here holds the same.
 */

import { PAGE_BYTES } from '../proto/page.ts';
import type { Guest } from './guest/guest.ts';
import type { ContentsLender, Loan } from './migration/incoming.ts';
import type { ToDestinationMover } from './migration/messages.ts';
import { HeldContents } from './transform/held-contents.ts';
import type { LentGuest } from './transform/other-guests.ts';

/** More contents than this push each other out of the index. */
const CONTENTS_MAX = 2 ** 22;

export class HostContents implements ContentsLender {
  readonly #capacityBytes: number;
  /** Made when it is first asked for. */
  #contents: SharedArrayBuffer | undefined;
  readonly #guests = new Map<Guest, LentGuest>();
  /** The ways to the movers that have a loan. */
  readonly #borrowers = new Set<(message: ToDestinationMover) => void>();
  #lastId = 0;

  /** @param capacityBytes how much memory the host's guests have at most */
  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** From now on, until it is destroyed, movers may look into this guest's memory. */
  enter(guest: Guest): LentGuest {
    const known = this.#guests.get(guest);
    if (known !== undefined) return known;
    const entered = { id: ++this.#lastId, memory: guest.shared.memory };
    this.#guests.set(guest, entered);
    guest.ending.addEventListener('abort', () => this.#leave(guest, entered.id), { once: true });
    this.#tell({ type: 'guest-came', guest: entered });
    return entered;
  }

  /**
   * Lends what is there to the mover of a guest that arrives.
   *
   * @param tell what comes and goes later
   */
  lend(guest: Guest, tell: (message: ToDestinationMover) => void): Loan {
    const self = this.enter(guest);
    this.#contents ??= HeldContents.allocate(Math.min(this.#capacityBytes / PAGE_BYTES, CONTENTS_MAX));
    const others = [...this.#guests.values()].filter(({ id }) => id !== self.id);
    this.#borrowers.add(tell);
    return {
      lent: { contents: this.#contents, self, others },
      giveBack: () => this.#borrowers.delete(tell),
    };
  }

  #leave(guest: Guest, id: number): void {
    this.#guests.delete(guest);
    this.#tell({ type: 'guest-gone', id });
  }

  #tell(message: ToDestinationMover): void {
    for (const tell of this.#borrowers) tell(message);
  }
}
