/**
 * When a guest is made known to those outside: as often and as far apart as its spec says, from its start on this host
 * on, as QEMU announces a guest after a migration. What an announcement is, the uplink knows.
 */

import type { Announce } from '../../proto/generated/godwit/v1/guest.ts';
import { announceDelayMs } from '../../proto/guest-network.ts';

export interface Announcements {
  /** False when the guest has left meanwhile: then nothing is announced. */
  isHere(): boolean;
  announce(round: number): void;
  withdraw(): void;
}

export class Announcer {
  readonly #announce: Announce;
  readonly #uplink: Announcements;
  /** The next announcement; 0 when the guest is not to be announced. */
  #round = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(announce: Announce, uplink: Announcements) {
    this.#announce = announce;
    this.#uplink = uplink;
  }

  /** The guest runs here. Without effect when that was said already. */
  begin(): void {
    if (this.#round > 0) return;
    this.#round = 1;
    this.#next();
  }

  /** The guest has left. Without effect when it had not been here. */
  withdraw(): void {
    const wasAnnounced = this.#round > 1;
    this.stop();
    if (wasAnnounced) this.#uplink.withdraw();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#round = 0;
  }

  #next(): void {
    if (this.#round > this.#announce.rounds) return;
    const delayMs = announceDelayMs(this.#announce, this.#round);
    if (delayMs === 0) this.#now();
    else this.#timer = setTimeout(() => this.#now(), delayMs);
  }

  #now(): void {
    if (!this.#uplink.isHere()) return;
    this.#uplink.announce(this.#round++);
    this.#next();
  }
}
