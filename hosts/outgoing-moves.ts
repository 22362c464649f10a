/**
 * The source's part of a migration as the host sees it: checks, the witness before the pause, the guest's
 * end here or its going on.
 */

import { errorText, RpcError } from '../proto/errors.ts';
import type {
  HostServiceStartMigrationRequest,
  SourceListening,
  SourceOutcome,
  Ticket,
} from '../proto/generated/godwit/v1/host.ts';
import type { MigrationProgress } from '../proto/generated/godwit/v1/migration.ts';
import { migrationOptionsProblems } from '../proto/migration-options.ts';
import { comparesGuests, transformsOf } from '../proto/transforms.ts';
import { bootId, nowMs } from './clock.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import type { DirtyRateProbes } from './dirty-rate-probes.ts';
import type { Gangs, Membership } from './gangs.ts';
import type { GuestTable, HeldEntry } from './guest-table.ts';
import type { HandoverDesk, Side } from './handover-desk.ts';
import type { HostNetwork } from './host-network.ts';
import type { HostStatistics } from './host-stats.ts';
import { OutgoingMigration, type OutgoingSettings } from './migration/outgoing.ts';
import type { NetworkPath } from './network-path.ts';
import type { ReadyThreads } from './ready-threads.ts';
import { mustHoldTicket } from './ticket-check.ts';

/** What the migration's caller hears while it runs. */
export interface OutgoingListener {
  listening(where: SourceListening): void;
  progress(progress: MigrationProgress): void;
}

interface OutgoingParts {
  /** This host's name. */
  readonly host: string;
  readonly gangs: Gangs;
  readonly table: GuestTable;
  readonly desk: HandoverDesk;
  readonly link: CoordinatorLink;
  readonly statistics: HostStatistics;
  readonly network: HostNetwork;
  readonly threads: ReadyThreads;
  readonly dirtyRates: DirtyRateProbes;
}

/** How much of the guest's past goes into the report as "before the migration". */
const SERIES_BEFORE_MS = 10_000;

export class OutgoingMoves {
  readonly #host: string;
  readonly #table: GuestTable;
  readonly #desk: HandoverDesk;
  readonly #link: CoordinatorLink;
  readonly #statistics: HostStatistics;
  readonly #network: HostNetwork;
  readonly #threads: ReadyThreads;
  readonly #gangs: Gangs;
  readonly #dirtyRates: DirtyRateProbes;
  readonly #running = new Map<string, OutgoingMigration>();
  /** Of the guests that run elsewhere and have pages here: resolves when they have none any more. */
  readonly #serving = new Map<string, PromiseWithResolvers<void>>();

  constructor({ host, table, desk, link, statistics, network, threads, gangs, dirtyRates }: OutgoingParts) {
    this.#host = host;
    this.#table = table;
    this.#desk = desk;
    this.#link = link;
    this.#statistics = statistics;
    this.#network = network;
    this.#threads = threads;
    this.#gangs = gangs;
    this.#dirtyRates = dirtyRates;
  }

  find(migration: string): OutgoingMigration | undefined {
    return this.#running.get(migration);
  }

  /** Resolves when no guest that runs elsewhere has pages here, or after so long. */
  async served(withinMs: number): Promise<void> {
    const all = Promise.all([...this.#serving.values()].map(({ promise }) => promise));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([all, late]);
    clearTimeout(timer);
  }

  /**
   * Moves a guest away. Answers how it ended; the guest runs on here unless the outcome is "completed".
   * @throws RpcError before anything was begun: NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT.
   */
  async run(request: HostServiceStartMigrationRequest, listener: OutgoingListener): Promise<SourceOutcome> {
    const acceptedAtMs = nowMs();
    const { migration, options } = request;
    const { entry, ticket } = this.#checked(request);
    entry.migration = migration;
    // A pause or an audit before the migration is nothing that the migration could have slowed down.
    const { series } = entry.guest;
    const seriesFromMs = Math.max(acceptedAtMs - SERIES_BEFORE_MS, series.runningSinceMs ?? acceptedAtMs);
    let path: NetworkPath | undefined;
    let gang: Membership | undefined;
    let outgoing: OutgoingMigration | undefined;
    try {
      await this.#dirtyRates.yieldTo(migration, entry.guest);
      path = await this.#network.openPath(request.destination);
      if (comparesGuests(transformsOf(options!))) gang = this.#gangs.join(request.destination);
      const how = { options: options!, ticket, gang: gang?.sent };
      outgoing = this.#outgoing(request, entry, how, path, listener);
      this.#running.set(migration, outgoing);
      this.#desk.open(migration, 'source', outgoing);
      const outcome = await outgoing.run();
      const { report } = outcome;
      if (report !== undefined) report.series = series.since(seriesFromMs);
      return outcome;
    } finally {
      gang?.leave();
      await path?.close();
      this.#running.delete(migration);
      this.#serving.get(migration)?.resolve();
      this.#serving.delete(migration);
      this.#statistics.countRefused(outgoing?.refused ?? 0);
      this.#desk.close(migration);
      this.#afterwards(entry, migration, request.epoch);
    }
  }

  #checked(request: HostServiceStartMigrationRequest): { entry: HeldEntry; ticket: Ticket } {
    const { migration, guest, epoch, destination, ticket } = request;
    const entry = this.#table.get(guest);
    const problems =
      request.options === undefined ? ['no options'] : migrationOptionsProblems(request.options);
    if (problems.length > 0)
      throw new RpcError('INVALID_ARGUMENT', `migration options: ${problems.join('; ')}`);
    const cannot = (why: string) =>
      new RpcError('FAILED_PRECONDITION', `guest "${request.guest}" cannot be moved now: ${why}`);
    if (entry.migration !== undefined)
      throw cannot(`migration "${entry.migration}" is moving it; wait or cancel it`);
    if (entry.tenure !== 'owned') throw cannot(`it is ${entry.tenure} on this host`);
    // The ledger comes behind the last page.
    const { missingPages } = entry.guest.control;
    if (missingPages > 0) throw cannot(`${missingPages} pages of it are still at ${entry.pagesAt}`);
    if (!entry.guest.ledgerKnown) throw cannot('its last move is not over yet: the ledger has not come');
    if (!entry.guest.running)
      throw cannot('it does not run; resume it first, since a paused guest has no downtime');
    if (entry.epoch !== request.epoch) {
      throw cannot(`it is here under epoch ${entry.epoch}, not ${request.epoch}; ask the coordinator again`);
    }
    return {
      entry,
      ticket: mustHoldTicket(ticket, { migration, guest, epoch, source: this.#host, destination }),
    };
  }

  #outgoing(
    request: HostServiceStartMigrationRequest,
    entry: HeldEntry,
    how: Pick<OutgoingSettings, 'options' | 'ticket' | 'gang'>,
    path: NetworkPath,
    listener: OutgoingListener,
  ): OutgoingMigration {
    const { migration, guest: name, epoch, destination } = request;
    const outgoing: OutgoingMigration = new OutgoingMigration(
      {
        migration,
        threads: this.#threads,
        guest: entry.guest,
        ...how,
        listenAddress: path.listenAddress,
      },
      {
        listening: (port) => {
          path.expose(port).then(
            (where) => listener.listening({ ...where, bootId: bootId() }),
            (error: unknown) => outgoing.cancel(errorText(error)),
          );
        },
        progress: (progress) => listener.progress(progress),
        beginHandover: () => {
          // From here on the witness may have it on record, even when its answer is lost.
          entry.tenure = 'unsettled';
          return this.#link.beginHandover(name, epoch, migration, destination);
        },
        commitUnanswered: (): Promise<Side> => {
          entry.tenure = 'handed-over';
          return this.#desk.resolve(entry, migration, epoch);
        },
        serving: () => {
          entry.tenure = 'serving';
          this.#serving.set(migration, Promise.withResolvers());
        },
        free: async () => {
          await this.#table.remove(entry);
          return nowMs();
        },
      },
    );
    return outgoing;
  }

  /**
   * A guest that stayed: settled at once when the witness never heard of a handover, else with the witness.
   */
  #afterwards(entry: HeldEntry, migration: string, epoch: bigint): void {
    if (this.#table.find(entry.spec.name) !== entry) return;
    if (entry.tenure === 'owned') {
      entry.migration = undefined;
      return;
    }
    entry.tenure = 'unsettled';
    this.#desk.settleLater(entry, migration, epoch);
  }
}
