/**
 * Pages that are left out of a migration since they are free in the guest. Two ways to know of them, with the
 * same rule: what was learned before the dirty marks were taken off counts for nothing afterwards
 * (hosts/guest/free-reports.ts).
 *
 * - hints: while a round is sent the kernel reports its free pages, and those whose turn has not come are left
 *   out. The reports end before the next collection, and begin anew after it, as in QEMU
 *   (virtio_balloon_free_page_hint_notify).
 * - balloon: the kernel has given its free pages back, and does so again and again. A host knows its guests'
 *   balloons at any time.
 *
 * Once the guest stands still its free list is known from the state that travels: what is free then does not
 * travel, and is not missing afterwards, either. The destination's kernel goes on with that list, and writes
 * the whole of each page that it takes. (QEMU hints no pages where post-copy is possible: there such a page
 * would be a fault that nobody ends.)
 */

import { PATIENCE } from '../../../proto/deadlines.ts';
import { FreePages, type FreePagesReport } from '../../../proto/generated/godwit/v1/migration.ts';
import { poolPageCount } from '../../../proto/guest-network.ts';
import { ControlBlock } from '../../guest/control-block.ts';
import { FreeList } from '../../guest/free-list.ts';
import { FREE_COMMAND, FreeQuestions } from '../../guest/free-reports.ts';
import { pageCountOf, type SharedGuest } from '../../guest/shared-guest.ts';
import { MOVER_LIMITS } from '../limits.ts';
import { PageSet } from '../page-set.ts';

export class FreePageRule {
  readonly #kind: FreePages;
  readonly #pageCount: number;
  readonly #list: FreeList;
  readonly #questions: FreeQuestions;
  readonly #control: ControlBlock;
  /** hints: what was reported since the last collection. */
  #reported: PageSet;
  /** Places of the free list whose pages are left out now: of the balloon, or of a guest that stands still. */
  #places = { from: 0, to: 0 };
  /** balloon: up to where it has been counted. */
  #givenTo = 0;
  /** Pages that were left out and not sent since. */
  readonly #out: PageSet;
  readonly #counts = { free: 0, reported: 0, reused: 0 };

  /** Undefined when free pages are sent as any others, and for a guest that has none. */
  static of(kind: FreePages, shared: SharedGuest): FreePageRule | undefined {
    if (kind !== FreePages.FREE_PAGES_HINTS && kind !== FreePages.FREE_PAGES_BALLOON) return undefined;
    return poolPageCount(shared.spec) === 0 ? undefined : new FreePageRule(kind, shared);
  }

  private constructor(kind: FreePages, shared: SharedGuest) {
    this.#kind = kind;
    this.#pageCount = pageCountOf(shared.spec);
    this.#list = new FreeList(shared);
    this.#questions = new FreeQuestions(shared);
    this.#control = new ControlBlock(shared.control, shared.spec.vcpuCount);
    this.#reported = new PageSet(this.#pageCount);
    this.#out = new PageSet(this.#pageCount);
    this.#list.visitFree((_, pageCount) => {
      this.#counts.free += pageCount;
    });
  }

  /** balloon: resolves when the guest has given back what is free, or has had its time, or cannot, since it is held. */
  async begin(): Promise<void> {
    if (this.#kind !== FreePages.FREE_PAGES_BALLOON) return;
    const { inflations } = this.#questions;
    this.#questions.ask(FREE_COMMAND.BALLOON);
    if (this.#control.holds() !== 0) return;
    await this.#questions.inflated(inflations, MOVER_LIMITS.balloonWaitMs * PATIENCE);
  }

  /** Dirty marks are about to be taken off: what is known of free pages will say nothing afterwards. */
  beforeCollection(): void {
    if (this.#kind === FreePages.FREE_PAGES_HINTS) this.#questions.stop();
    this.#reported = new PageSet(this.#pageCount);
    this.#places = { from: 0, to: 0 };
  }

  /** These pages were written. */
  collected(pages: Uint32Array): void {
    for (const page of pages)
      if (page >= this.#list.firstPage && this.#out.delete(page)) this.#counts.reused++;
  }

  /** A round begins whose pages were just collected, while the guest runs. */
  roundBegins(): void {
    if (this.#kind === FreePages.FREE_PAGES_HINTS) this.#questions.ask(FREE_COMMAND.REPORT);
    this.learn();
  }

  /** Takes in what the guest has said since the last time. */
  learn(): void {
    const { FREE_PAGES_BALLOON } = FreePages;
    if (this.#kind === FREE_PAGES_BALLOON) {
      // The end first, as free-list.ts says.
      const to = this.#list.balloonTo;
      const from = this.#list.balloonFrom;
      this.#counts.reported += Math.max(to - Math.max(from, this.#givenTo), 0);
      this.#givenTo = to;
      this.#places = { from, to };
      return;
    }
    this.#questions.take((firstPage, pageCount) => {
      this.#counts.reported += pageCount;
      this.#reported.addRun(firstPage, pageCount);
    });
  }

  /** The guest stands still, its marks taken off: what its list says now is what it will go on with. */
  guestStands(): void {
    const list = this.#list;
    this.learn();
    if (this.#kind === FreePages.FREE_PAGES_HINTS) {
      this.#places = { from: list.allocated, to: list.freed + list.pageCount };
    }
  }

  /** Whether a page need not be sent now. */
  has(page: number): boolean {
    const { firstPage, pageCount } = this.#list;
    if (page < firstPage || page >= firstPage + pageCount) return false;
    if (this.#reported.has(page)) return true;
    const { from, to } = this.#places;
    return from < to && (page - firstPage + pageCount - (from % pageCount)) % pageCount < to - from;
  }

  /** Its turn came and it was left out. */
  left(page: number): void {
    this.#out.add(page);
  }

  /** After `guestStands`: takes what need not be sent out of a set, run by run. */
  leaveOutOf(pages: PageSet): void {
    const { from, to } = this.#places;
    this.#list.visitPlaces(from, to, (firstPage, pageCount) => {
      pages.deleteRun(firstPage, pageCount);
      this.#out.addRun(firstPage, pageCount);
    });
  }

  /** The migration is over: the guest is asked nothing any more, and takes back what it has given. */
  end(): void {
    this.#questions.stop();
  }

  report(): FreePagesReport {
    const { free, reported, reused } = this.#counts;
    return {
      kind: this.#kind,
      freePages: BigInt(free),
      reportedPages: BigInt(reported),
      leftOutPages: BigInt(this.#out.size),
      reusedPages: BigInt(reused),
    };
  }
}
