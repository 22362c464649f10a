/**
 * The destination's part of a migration as the host sees it: room, the connections, and what became of it.
 */

import { errorText, RpcError } from '../proto/errors.ts';
import type { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import type {
  HostServiceGetIncomingResponse,
  HostServicePrepareIncomingRequest,
  SourceListening,
  Ticket,
} from '../proto/generated/godwit/v1/host.ts';
import { DedupScope, type MigrationOptions } from '../proto/generated/godwit/v1/migration.ts';
import { guestSpecProblems } from '../proto/guest-spec.ts';
import { migrationOptionsProblems } from '../proto/migration-options.ts';
import { comparesGuests, transformsOf } from '../proto/transforms.ts';
import { Guest } from './guest/guest.ts';
import type { GuestNics } from './guest-nics.ts';
import type { GuestTable, HeldEntry } from './guest-table.ts';
import type { HandoverDesk } from './handover-desk.ts';
import type { HostContents } from './host-contents.ts';
import type { HostNetwork } from './host-network.ts';
import type { HostStatistics } from './host-stats.ts';
import type { Lease } from './lease.ts';
import { IncomingMigration } from './migration/incoming.ts';
import type { Endpoint, NetworkPath } from './network-path.ts';
import type { ReadyThreads } from './ready-threads.ts';
import { mustHoldTicket } from './ticket-check.ts';

interface IncomingParts {
  /** This host's name. */
  readonly host: string;
  readonly contents: HostContents;
  readonly table: GuestTable;
  readonly desk: HandoverDesk;
  readonly lease: Lease;
  readonly statistics: HostStatistics;
  readonly network: HostNetwork;
  readonly threads: ReadyThreads;
  readonly nics: GuestNics;
}

/** How many ended migrations can still be asked about. */
const ENDED_MAX = 100;

interface IncomingMove {
  readonly migration: IncomingMigration;
  readonly path: NetworkPath;
  readonly finished: Promise<HostServiceGetIncomingResponse>;
  isOver: boolean;
}

/** A request whose parts have been checked to be there. */
interface Preparation {
  readonly request: HostServicePrepareIncomingRequest;
  readonly spec: GuestSpec;
  readonly listening: SourceListening;
  readonly options: MigrationOptions;
  readonly ticket: Ticket;
}

export class IncomingMoves {
  readonly #host: string;
  readonly #table: GuestTable;
  readonly #desk: HandoverDesk;
  readonly #lease: Lease;
  readonly #statistics: HostStatistics;
  readonly #network: HostNetwork;
  readonly #threads: ReadyThreads;
  readonly #nics: GuestNics;
  readonly #contents: HostContents;
  readonly #moves = new Map<string, IncomingMove>();

  constructor({ host, table, desk, lease, statistics, network, threads, nics, contents }: IncomingParts) {
    this.#host = host;
    this.#table = table;
    this.#desk = desk;
    this.#lease = lease;
    this.#statistics = statistics;
    this.#network = network;
    this.#threads = threads;
    this.#nics = nics;
    this.#contents = contents;
  }

  find(migration: string): IncomingMigration | undefined {
    return this.#moves.get(migration)?.migration;
  }

  /**
   * Makes room and connects to the source; when this answers, every channel is up. Pages come from then on, while the
   * threads of the guest start: the mover tells the source when they stand by.
   *
   * @throws RpcError INVALID_ARGUMENT, ALREADY_EXISTS, RESOURCE_EXHAUSTED, or UNAVAILABLE when the source
   *   cannot be reached; then nothing is left here.
   */
  async prepare(request: HostServicePrepareIncomingRequest): Promise<void> {
    const preparation = checked(request, this.#host);
    const { spec } = preparation;
    const entry = await this.#table.add(spec, 'incoming', request.epoch, async () =>
      // Should it come to run here, it will be under the next epoch.
      Guest.incoming(spec, await this.#nics.settingsOrProblem(spec, request.epoch + 1n), this.#threads.take),
    );
    entry.migration = request.migration;
    entry.pagesAt = request.source;
    entry.guest.control.leaseUntilMs = this.#lease.untilMs;
    let path: NetworkPath | undefined;
    let move: IncomingMove | undefined;
    try {
      path = await this.#network.openPath(request.source);
      const migration = this.#incoming(preparation, entry, await path.dial(preparation.listening));
      this.#desk.open(request.migration, 'destination', migration);
      move = this.#remember(request.migration, migration, path);
      await migration.connect();
    } catch (error) {
      this.#moves.delete(request.migration);
      move?.migration.cancel(errorText(error));
      if (move === undefined) await path?.close();
      else await this.#over(request.migration, move);
      await this.#table.remove(entry);
      throw error;
    }
    void move.finished.then(() => this.#over(request.migration, move));
  }

  /**
   * What the destination saw of a migration; waits until it is over. NOT_FOUND when this host never had it.
   */
  async result(migration: string): Promise<HostServiceGetIncomingResponse> {
    const move = this.#moves.get(migration);
    if (move === undefined) {
      throw new RpcError('NOT_FOUND', `no migration "${migration}" has come to this host`);
    }
    return await move.finished;
  }

  /**
   * What other guests here hold is lent only to a migration that asks for it, and of all guests only for the
   * scope host.
   */
  #lender(options: MigrationOptions): HostContents | undefined {
    const transforms = transformsOf(options);
    if (!comparesGuests(transforms)) return undefined;
    if (transforms.dedup === DedupScope.DEDUP_SCOPE_HOST) {
      for (const { guest } of this.#table.entries()) this.#contents.enter(guest);
    }
    return this.#contents;
  }

  #incoming(
    { request, spec, listening, options, ticket }: Preparation,
    entry: HeldEntry,
    source: Endpoint,
  ): IncomingMigration {
    const { migration, epoch } = request;
    return new IncomingMigration(
      {
        migration,
        threads: this.#threads,
        guest: entry.guest,
        source: request.source,
        options,
        ticket,
        contents: this.#lender(options),
        sourceAddress: source.address,
        sourcePort: source.port,
        sourceBootId: listening.bootId,
      },
      {
        resumed: () => {
          entry.tenure = 'unsettled';
          this.#desk.settleLater(entry, migration, epoch);
        },
        commitMissing: () => this.#desk.resolve(entry, migration, epoch),
        abandoned: (reason) => {
          entry.tenure = 'incoming';
          this.#table.remove(entry).catch((error: unknown) => {
            process.stderr.write(`discarding guest "${spec.name}" (${reason}): ${String(error)}\n`);
          });
        },
      },
    );
  }

  #remember(name: string, migration: IncomingMigration, path: NetworkPath): IncomingMove {
    const move: IncomingMove = { migration, path, finished: migration.finished(), isOver: false };
    this.#moves.set(name, move);
    if (this.#moves.size > ENDED_MAX) {
      const oldest = [...this.#moves].find(([, { isOver }]) => isOver);
      if (oldest !== undefined) this.#moves.delete(oldest[0]);
    }
    return move;
  }

  async #over(name: string, move: IncomingMove): Promise<void> {
    move.isOver = true;
    this.#desk.close(name);
    this.#statistics.countRefused(move.migration.refused);
    await move.path.close();
  }
}

function checked(request: HostServicePrepareIncomingRequest, destination: string): Preparation {
  const { spec, listening, options, ticket, migration, epoch, source } = request;
  if (spec === undefined || listening === undefined || options === undefined || ticket === undefined) {
    throw new RpcError(
      'INVALID_ARGUMENT',
      'an incoming migration needs a spec, the source, options and a ticket',
    );
  }
  const problems = [...guestSpecProblems(spec), ...migrationOptionsProblems(options)];
  if (problems.length > 0) throw new RpcError('INVALID_ARGUMENT', `incoming guest: ${problems.join('; ')}`);
  mustHoldTicket(ticket, { migration, guest: spec.name, epoch, source, destination });
  return { request, spec, listening, options, ticket };
}
