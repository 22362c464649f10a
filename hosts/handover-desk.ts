/**
 * The host's side of "exactly one running copy" (docs/ownership.md): keeps the open handovers, parks what may not run
 * when the lease ends, tells the witness how each handover ended and obeys what the witness says.
 */

import { HandoverStanding } from '../proto/generated/godwit/v1/host.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import { HOLD } from './guest/control-layout.ts';
import type { GuestTable, HeldEntry } from './guest-table.ts';
import type { Lease } from './lease.ts';

/** One side of a running migration, as the desk sees it. */
export interface HandoverParty {
  standing(): HandoverStanding;
  decide(owner: Side): void;
}
export type Side = 'source' | 'destination';

interface OpenHandover {
  readonly side: Side;
  readonly party: HandoverParty;
}

/** How many ended migrations' standings are remembered for a late question. */
const STANDINGS_MAX = 1000;

export class HandoverDesk {
  readonly #host: string;
  readonly #table: GuestTable;
  readonly #link: CoordinatorLink;
  readonly #lease: Lease;
  readonly #open = new Map<string, OpenHandover>();
  readonly #ended = new Map<string, HandoverStanding>();

  constructor(host: string, table: GuestTable, link: CoordinatorLink, lease: Lease) {
    this.#host = host;
    this.#table = table;
    this.#link = link;
    this.#lease = lease;
  }

  open(migration: string, side: Side, party: HandoverParty): void {
    this.#open.set(migration, { side, party });
  }

  /** The migration is over on this side; what it had come to is remembered. */
  close(migration: string): void {
    const handover = this.#open.get(migration);
    if (handover === undefined) return;
    this.#open.delete(migration);
    this.#ended.set(migration, handover.party.standing());
    if (this.#ended.size > STANDINGS_MAX) this.#ended.delete(this.#ended.keys().next().value!);
  }

  /** What this host can promise about a migration. One that it never heard of cannot have a guest here. */
  standing(migration: string): HandoverStanding {
    const open = this.#open.get(migration);
    if (open !== undefined) return open.party.standing();
    return this.#ended.get(migration) ?? HandoverStanding.HANDOVER_STANDING_ABANDONED;
  }

  /** Asks the witness until it has spoken, and takes over the epoch that it gave. */
  async resolve(entry: HeldEntry, migration: string, openedAtEpoch: bigint): Promise<Side> {
    const ruling = await this.#link.resolveHandover(entry.spec.name, openedAtEpoch, migration, () =>
      this.#holds(entry),
    );
    if (ruling.owner === this.#host) entry.epoch = ruling.epoch;
    const mine = this.#open.get(migration)?.side ?? 'destination';
    const other = mine === 'source' ? 'destination' : 'source';
    return ruling.owner === this.#host ? mine : other;
  }

  /**
   * Tells the witness that the guest is here, in the background and until it answers. Then the guest is owned, or,
   * when the witness had decided otherwise, discarded.
   */
  settleLater(entry: HeldEntry, migration: string, openedAtEpoch: bigint): void {
    if (!this.#lease.alive) this.park();
    this.#link
      .settleHandover(entry.spec.name, openedAtEpoch, migration, () => this.#holds(entry))
      .then((ruling) => this.#obey(entry, migration, ruling.owner, ruling.epoch))
      .catch((error: unknown) => {
        // We are closing, or the guest is gone. Should it be here still, it does not outlive the lease.
        process.stderr.write(`settling guest "${entry.spec.name}": ${String(error)}\n`);
      });
  }

  /** The witness's word, pushed to us: carried out once, whether the migration is still open or over. */
  async decided(migration: string, guest: string, owner: string): Promise<void> {
    const open = this.#open.get(migration);
    if (open !== undefined) {
      const other = open.side === 'source' ? 'destination' : 'source';
      open.party.decide(owner === this.#host ? open.side : other);
      return;
    }
    const entry = this.#table.find(guest);
    if (entry?.migration !== migration || owner === this.#host) return;
    await this.#table.remove(entry);
  }

  /** The lease has ended: whatever is not settled stands still, also when a migration would let it run. */
  park(): void {
    for (const entry of this.#table.entries()) {
      const isOpen = entry.tenure === 'unsettled' || entry.tenure === 'handed-over';
      if (isOpen) entry.guest.control.requestPause(HOLD.LEASE);
    }
  }

  #holds(entry: HeldEntry): boolean {
    return this.#table.find(entry.spec.name) === entry;
  }

  async #obey(entry: HeldEntry, migration: string, owner: string, epoch: bigint): Promise<void> {
    if (owner !== this.#host) {
      await this.#table.remove(entry);
      return;
    }
    entry.epoch = epoch;
    if (entry.migration === migration) entry.migration = undefined;
    if (entry.tenure === 'unsettled') entry.tenure = 'owned';
    entry.guest.control.resume(HOLD.LEASE);
  }
}
