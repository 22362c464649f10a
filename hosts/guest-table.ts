/**
 * The guests on this host: what is here, under which ownership epoch, whether its handover is settled, and how much
 * memory is promised. It decides nothing; the handover desk and the service do.
 */

import { RpcError } from '../proto/errors.ts';
import type { HeldGuest } from '../proto/generated/godwit/v1/coordinator.ts';
import { type GuestSpec, GuestState } from '../proto/generated/godwit/v1/guest.ts';
import { HOLD } from './guest/control-layout.ts';
import type { Guest } from './guest/guest.ts';

/**
 * Where a guest stands with its ownership:
 * - owned: the witness has this host on record; the guest runs without regard to the lease.
 * - unsettled: its handover is open and it is here; it runs only under a live lease.
 * - incoming: pages are arriving; it does not run.
 * - handed-over: COMMIT was sent; it stands still until the destination or the witness has spoken.
 * - serving: it runs at the destination, which has not got all its pages from here yet (post-copy).
 */
export type Tenure = 'owned' | 'unsettled' | 'incoming' | 'handed-over' | 'serving';

export interface HeldEntry {
  readonly guest: Guest;
  readonly spec: GuestSpec;
  epoch: bigint;
  tenure: Tenure;
  /** The migration that it is part of, or was part of until it settles. */
  migration: string | undefined;
  /** The host that it came from, which has those of its pages that have not come yet. */
  pagesAt: string;
}

export class GuestTable {
  readonly capacityBytes: number;
  readonly #entries = new Map<string, HeldEntry>();
  /** Memory promised to guests that are still being made. */
  readonly #reserved = new Map<string, number>();

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  get promisedBytes(): number {
    let bytes = 0;
    for (const entry of this.#entries.values()) bytes += Number(entry.spec.memoryBytes);
    for (const reserved of this.#reserved.values()) bytes += reserved;
    return bytes;
  }

  get count(): number {
    return this.#entries.size;
  }

  entries(): Iterable<HeldEntry> {
    return this.#entries.values();
  }

  find(name: string): HeldEntry | undefined {
    return this.#entries.get(name);
  }

  /** The guest of that name; NOT_FOUND when it is not here. */
  get(name: string): HeldEntry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    throw new RpcError('NOT_FOUND', `there is no guest "${name}" on this host; it holds ${this.#names()}`);
  }

  /**
   * Makes a guest within the capacity and enters it.
   * @throws RpcError ALREADY_EXISTS or RESOURCE_EXHAUSTED, before anything is allocated.
   */
  async add(spec: GuestSpec, tenure: Tenure, epoch: bigint, make: () => Promise<Guest>): Promise<HeldEntry> {
    const { name } = spec;
    if (this.#entries.has(name) || this.#reserved.has(name)) {
      throw new RpcError('ALREADY_EXISTS', `guest "${name}" is already on this host`);
    }
    const wanted = Number(spec.memoryBytes);
    const free = this.capacityBytes - this.promisedBytes;
    if (wanted > free) {
      throw new RpcError(
        'RESOURCE_EXHAUSTED',
        `guest "${name}" needs ${wanted} bytes of memory, ${free} of ${this.capacityBytes} are free on this host; ` +
          'choose another host, or start this one with more --memory',
      );
    }
    this.#reserved.set(name, wanted);
    try {
      const guest = await make();
      const entry: HeldEntry = { guest, spec, epoch, tenure, migration: undefined, pagesAt: '' };
      this.#entries.set(name, entry);
      return entry;
    } finally {
      this.#reserved.delete(name);
    }
  }

  /** Takes the guest out of the table and ends its threads. Nothing happens when it is not (any more) this entry. */
  async remove(entry: HeldEntry): Promise<void> {
    if (this.#entries.get(entry.spec.name) !== entry) return;
    this.#entries.delete(entry.spec.name);
    await entry.guest.destroy();
  }

  /** What the host tells the coordinator that it holds. */
  held(): HeldGuest[] {
    return [...this.#entries.values()].map((entry) => ({
      guest: entry.spec.name,
      epoch: entry.epoch,
      state: stateOf(entry),
      spec: undefined,
      migration: entry.migration ?? '',
      failure: entry.guest.failure?.message ?? '',
      ...(entry.guest.nicProblem !== '' && { nicProblem: entry.guest.nicProblem }),
    }));
  }

  /** The same with the guests' specs, for a coordinator that may know nothing of them. */
  heldWithSpecs(): HeldGuest[] {
    return this.held().map((held) => ({ ...held, spec: this.get(held.guest).spec }));
  }

  #names(): string {
    return this.#entries.size === 0 ? 'none' : [...this.#entries.keys()].join(', ');
  }
}

function stateOf(entry: HeldEntry): GuestState {
  if (entry.guest.failure !== undefined) return GuestState.GUEST_STATE_FAILED;
  if ((entry.guest.control.holds() & HOLD.LEASE) !== 0) return GuestState.GUEST_STATE_PARKED;
  if (entry.tenure === 'incoming') return GuestState.GUEST_STATE_INCOMING;
  if (entry.tenure === 'handed-over' || entry.tenure === 'serving') return GuestState.GUEST_STATE_HANDED_OVER;
  return entry.guest.running ? GuestState.GUEST_STATE_RUNNING : GuestState.GUEST_STATE_PAUSED;
}
