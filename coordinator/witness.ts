/**
 * The witness: keeps who owns each guest, and decides when one side of a handover is silent. A decision is on
 * the disk before anybody hears of it. See docs/ownership.md.
 */

import { DEADLINES_MS } from '../proto/deadlines.ts';
import { RpcError } from '../proto/errors.ts';
import type { Clock } from './clock.ts';
import type { EventLog } from './events.ts';
import type { HostPort } from './host-port.ts';
import type { ClosedHandover, GuestRecord, HandoverKey, OwnershipStore } from './ownership-store.ts';
import type { Registry } from './registry.ts';
import { resolveHandover, type Standing } from './resolve-handover.ts';

/** Between two rounds of questions while nothing can be said. */
const POLL_MS = 100;

export interface WitnessModules {
  store: OwnershipStore;
  registry: Registry;
  hostPort: HostPort;
  clock: Clock;
  events: Pick<EventLog, 'emit'>;
}

/** Who has the guest, by the record. An empty owner: it is lost, as far as can be said now. */
export interface Ownership {
  owner: string;
  epoch: bigint;
}

export class Witness {
  readonly #modules: WitnessModules;
  readonly #resolutions = new Map<string, Promise<Ownership>>();
  /**
   * Decisions that a live host has not heard: by host and migration. A host that dies hears them at its
   * return.
   */
  readonly #untold = new Map<string, { host: string; closed: ClosedHandover }>();
  /**
   * The open handovers of which the last word was that nobody who can be reached has the whole guest: by
   * guest.
   */
  readonly #lost = new Map<string, string>();
  /** When a handover of a guest was last settled. */
  readonly #settledAtMs = new Map<string, number>();
  readonly #ended = new AbortController();

  constructor(modules: WitnessModules) {
    this.#modules = modules;
  }

  /**
   * Notes, before the pause, that a guest is about to be handed over.
   * @throws RpcError when the source does not own it at this epoch, or another handover is open.
   */
  beginHandover(key: HandoverKey, source: string, destination: string): void {
    const { store, events } = this.#modules;
    const record = this.#record(key.guest);
    const isBegun = record.handover?.migration === key.migration && record.epoch === key.epoch;
    if (isBegun && record.owner === source && record.handover?.destination === destination) return;
    const isOver = store.closedHandover(key.guest, key.migration) !== undefined;
    if (source === destination || isOver || !store.beginHandover(key, source, destination)) {
      throw new RpcError(
        'FAILED_PRECONDITION',
        `begin handover of ${key.guest} from ${source} (epoch ${key.epoch}) to ${destination}: ` +
          `${isOver ? `migration ${key.migration} is over; ` : ''}on record is ${describeRecord(record)}`,
      );
    }
    events.emit('handover-begun', key.guest, `${source} to ${destination}, migration ${key.migration}`);
  }

  /**
   * One side knows how it ended: the destination that the guest runs there, or the source that it was kept.
   */
  settleHandover(key: HandoverKey, owner: string): Ownership {
    const { store } = this.#modules;
    const record = this.#record(key.guest);
    const over = this.#whenOver(key, record);
    if (over !== undefined) return over;
    const isSource = owner === record.owner;
    if (!isSource && owner !== record.handover?.destination) {
      throw new RpcError(
        'INVALID_ARGUMENT',
        `settle handover of ${key.guest}: "${owner}" is neither its source nor its destination; ` +
          `on record is ${describeRecord(record)}`,
      );
    }
    store.closeHandover(key, isSource ? 'source' : 'destination');
    return this.#announce(key);
  }

  /**
   * One side is silent: who has the guest? One resolution at a time for each guest; who asks meanwhile shares
   * it.
   * @throws RpcError UNAVAILABLE when nothing can be said within the deadline: ask again.
   */
  resolveHandover(key: HandoverKey): Promise<Ownership> {
    const running = this.#resolutions.get(key.guest);
    if (running !== undefined) return running.then(() => this.resolveHandover(key));
    const over = this.#whenOver(key, this.#record(key.guest));
    if (over !== undefined) return Promise.resolve(over);
    const resolution = this.#resolve(key).finally(() => this.#resolutions.delete(key.guest));
    this.#resolutions.set(key.guest, resolution);
    return resolution;
  }

  /** Whether the guest's open handover has left nobody with all of it, as far as can be said now. */
  isLost(guest: string): boolean {
    const migration = this.#modules.store.guest(guest)?.handover?.migration;
    return migration !== undefined && this.#lost.get(guest) === migration;
  }

  /** When a handover of this guest was last settled here, or undefined. */
  settledAtMs(guest: string): number | undefined {
    return this.#settledAtMs.get(guest);
  }

  /**
   * Tells what live hosts have not heard yet. Called from time to time; a host that is silent hears it later.
   */
  async pushDecisions(): Promise<void> {
    const { registry, hostPort } = this.#modules;
    const pushes = [...this.#untold].map(async ([name, { host, closed }]) => {
      const known = registry.find(host);
      const liveness = registry.liveness(host);
      // A host that is dead is told at its registration, before it gets a lease.
      if (liveness === 'dead') this.#untold.delete(name);
      if (liveness !== 'alive' || known === undefined) return;
      const { guest, migration, winner } = closed;
      const question = { guest, migration, decidedOwner: winner };
      const isTold = await hostPort.queryHandover(known.address, question).then(
        () => true,
        () => false,
      );
      if (isTold) this.#untold.delete(name);
    });
    await Promise.all(pushes);
  }

  /**
   * Resolves the open handovers that no migration of this coordinator looks after: those of one that ended
   * without a word, and those that an earlier coordinator left. Called from time to time.
   */
  resolveUnattended(isAttended: (guest: string) => boolean): void {
    const { store } = this.#modules;
    for (const known of [this.#settledAtMs, this.#lost]) {
      for (const guest of known.keys()) if (store.guest(guest) === undefined) known.delete(guest);
    }
    for (const [guest, { epoch, handover }] of store.guests()) {
      if (handover === undefined || isAttended(guest) || this.#resolutions.has(guest)) continue;
      // What cannot be said now is asked again the next time.
      this.resolveHandover({ guest, epoch, migration: handover.migration }).catch(() => {});
    }
  }

  /** Ends all waiting. */
  close(): void {
    this.#ended.abort();
  }

  /** The answer when this handover is not open (any more), or undefined when it is. */
  #whenOver(key: HandoverKey, record: GuestRecord): Ownership | undefined {
    const { store } = this.#modules;
    const closed = store.closedHandover(key.guest, key.migration);
    if (closed !== undefined) return ownershipOf(closed);
    if (record.handover?.migration === key.migration && record.epoch === key.epoch) return undefined;
    // It never began. Noted, so that a BeginHandover that is still on its way is refused: the source keeps
    // it.
    if (record.epoch === key.epoch) store.closeUnbegun(key, record.owner);
    return { owner: record.owner, epoch: record.epoch };
  }

  async #resolve(key: HandoverKey): Promise<Ownership> {
    const { store, clock } = this.#modules;
    const deadlineMs = clock.nowMs() + DEADLINES_MS.resolve;
    for (;;) {
      const before = this.#record(key.guest);
      const over = this.#whenOver(key, before);
      if (over !== undefined) return over;
      const { owner: source, handover } = before;
      const destination = handover?.destination ?? '';
      const [sourceAnswer, destinationAnswer] = await Promise.all([
        this.#ask(source, key),
        this.#ask(destination, key),
      ]);
      // From here to the store without a pause: a host that is dead now cannot get a lease in between.
      const record = this.#record(key.guest);
      const settled = this.#whenOver(key, record);
      if (settled !== undefined) return settled;
      const sourceStanding = this.#standingNow(source, sourceAnswer);
      const destinationStanding = this.#standingNow(destination, destinationAnswer);
      const decision = resolveHandover(sourceStanding, destinationStanding);
      if (decision === 'lost') {
        this.#lost.set(key.guest, key.migration);
        return { owner: '', epoch: record.epoch };
      }
      this.#lost.delete(key.guest);
      if (decision !== 'wait') {
        store.closeHandover(key, decision);
        return this.#announce(key);
      }
      if (this.#ended.signal.aborted || clock.nowMs() >= deadlineMs) {
        throw new RpcError(
          'UNAVAILABLE',
          `resolve handover of ${key.guest}: it cannot be said yet who has it; source ${source} is ` +
            `${sourceStanding}, destination ${destination} is ${destinationStanding}; ask again`,
        );
      }
      await clock.sleep(POLL_MS, this.#ended.signal);
    }
  }

  async #ask(host: string, { guest, migration }: HandoverKey): Promise<Standing> {
    const { registry, hostPort } = this.#modules;
    const known = registry.find(host);
    if (registry.liveness(host) !== 'alive' || known === undefined) return 'unreachable';
    try {
      return await hostPort.queryHandover(known.address, { guest, migration, decidedOwner: '' });
    } catch {
      return 'unreachable';
    }
  }

  /** An answer may be older than the lease: what is not final counts only while the host lives. */
  #standingNow(host: string, answer: Standing): Standing {
    const isFinal =
      answer === 'kept' || answer === 'committed' || answer === 'resumed' || answer === 'abandoned';
    if (isFinal || this.#modules.registry.liveness(host) !== 'dead') return answer;
    return 'dead';
  }

  /** After a handover was closed on the disk: tells both sides and answers. */
  #announce(key: HandoverKey): Ownership {
    const { store, events, clock } = this.#modules;
    this.#settledAtMs.set(key.guest, clock.nowMs());
    const closed = store.closedHandover(key.guest, key.migration);
    if (closed === undefined) throw new Error(`handover ${key.migration} of ${key.guest} was not closed`);
    events.emit('handover-settled', key.guest, `owner ${closed.winner}, migration ${key.migration}`);
    for (const host of [closed.source, closed.destination]) {
      this.#untold.set(`${host} ${key.migration}`, { host, closed });
    }
    void this.pushDecisions();
    return ownershipOf(closed);
  }

  #record(guest: string): GuestRecord {
    const record = this.#modules.store.guest(guest);
    if (record !== undefined) return record;
    throw new RpcError('NOT_FOUND', `no guest "${guest}" is on record`);
  }
}

function ownershipOf({ winner, source, epoch }: ClosedHandover): Ownership {
  return { owner: winner, epoch: winner === source ? epoch : epoch + 1n };
}

function describeRecord({ owner, epoch, handover }: GuestRecord): string {
  const open =
    handover === undefined ? '' : `, with migration ${handover.migration} to ${handover.destination} open`;
  return `owner ${owner} at epoch ${epoch}${open}`;
}
