/**
 * Two hosts' worth of engine in one process: a guest, a room for it, both ends of a migration over real
 * sockets, and hooks that play the host and the witness. Everything that a test starts with it ends with
 * `end()`.
 */

import { connect, createServer, type Server, type Socket } from 'node:net';
import { bootId, nowMs } from '../../hosts/clock.ts';
import { Guest } from '../../hosts/guest/guest.ts';
import {
  type ContentsLender,
  IncomingMigration,
  type IncomingResult,
} from '../../hosts/migration/incoming.ts';
import { OutgoingMigration } from '../../hosts/migration/outgoing.ts';
import { ReadyThreads } from '../../hosts/ready-threads.ts';
import { type GuestSpec, RateUnit, WorkloadSpec } from '../../proto/generated/godwit/v1/guest.ts';
import type { SourceOutcome, Ticket } from '../../proto/generated/godwit/v1/host.ts';
import {
  FailpointAction,
  type MigrationOptions,
  type MigrationProgress,
} from '../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import type { FailpointName } from '../../proto/names.ts';
import { testTicket } from './wire-peer.ts';

export const MIGRATION = 'migration-1';
export const TICKET = testTicket(MIGRATION);
const MEBIBYTE = 1024 * 1024;
/** Each migration starts its own. */
export const THREADS = new ReadyThreads([]);

/** A small guest. */
export function guestSpec(kind: string, rate: number, vcpuCount = 1, mebibytes = 4): GuestSpec {
  return {
    name: 'guest',
    memoryBytes: BigInt(mebibytes * MEBIBYTE),
    vcpuCount,
    deviceStateBytes: 5000n,
    seed: 7n,
    content: { zero: 0.4, duplicate: 0.1, shared: 0.1, compressible: 0.5 },
    workload: WorkloadSpec.fromPartial({
      kind,
      rate,
      rateUnit: kind === 'kv' ? RateUnit.RATE_UNIT_OPERATIONS_PER_S : RateUnit.RATE_UNIT_PAGES_PER_S,
      workingSetBytes: kind === 'hot-cold' ? BigInt(MEBIBYTE) : 0n,
      hot: kind === 'hot-cold' ? 0.9 : 0,
      theta: kind === 'kv' ? 0.9 : 0,
      read: kind === 'kv' ? 0.5 : 0,
    }),
    network: undefined,
  };
}

/** The default options, but for these. */
export function optionsOf(technique: string, changes: Partial<MigrationOptions> = {}): MigrationOptions {
  return { ...defaultMigrationOptions(technique), ...changes };
}

export function holdAt(point: FailpointName): MigrationOptions['failpoints'] {
  return [{ point, action: FailpointAction.FAILPOINT_ACTION_HOLD, durationMs: 600_000 }];
}

/** Waits for a condition; the test's own deadline ends a wait in vain. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What lies between the two sides of a pair. */
export interface Relay {
  readonly port: number;
  /** Cuts now, and lets nobody connect for a while. */
  readonly cut: (forMs?: number) => void;
  /** Cuts once the source has sent so many bytes, and lets nobody connect for a while then. */
  readonly cutAfter: (byteCount: number, forMs: number) => void;
  /** Lets connect again, before that while is over. */
  readonly restore: () => void;
  /** From now on each new connection is only told here, with its number from 1. */
  readonly onDial: (told: (socket: Socket, count: number) => void) => void;
}

/** The end of both sides of a migration. */
export interface Ends {
  readonly outcome: SourceOutcome;
  readonly result: IncomingResult;
}

/** What several pairs have in common, when their guests are to be compared: a gang, a destination host. */
export interface Shares {
  readonly gang?: SharedArrayBuffer;
  readonly contents?: ContentsLender;
}

export class EnginePair {
  readonly source: Guest;
  readonly destination: Guest;
  readonly options: MigrationOptions;
  readonly outgoing: OutgoingMigration;
  incoming!: IncomingMigration;
  readonly port = Promise.withResolvers<number>();
  progress: MigrationProgress | undefined;
  readonly abandoned: string[] = [];
  /** Which sides asked the witness, and whether the guest ran at the destination then. */
  readonly asked: string[] = [];
  readonly ranWhenAsked: boolean[] = [];
  resumedAtMs = 0;
  isServing = false;
  isFreed = false;
  /** What the witness would say; a test sets it. */
  verdict: 'source' | 'destination' = 'source';
  /** What the destination holds; a test may give it another. */
  ticket = TICKET;
  beginHandover = async (): Promise<void> => {};
  readonly #servers: Server[] = [];
  readonly #shares: Shares;
  #outcome: Promise<SourceOutcome> | undefined;

  private constructor(
    source: Guest,
    destination: Guest,
    options: MigrationOptions,
    shares: Shares,
    ticket: Ticket,
  ) {
    this.source = source;
    this.destination = destination;
    this.options = options;
    this.#shares = shares;
    const { gang } = shares;
    const settings = { migration: MIGRATION, threads: THREADS, guest: source, options, ticket, gang };
    this.outgoing = new OutgoingMigration(
      { ...settings, listenAddress: '127.0.0.1' },
      {
        listening: (port) => this.port.resolve(port),
        progress: (progress) => {
          this.progress = progress;
        },
        beginHandover: () => this.beginHandover(),
        commitUnanswered: () => this.#ask('source'),
        serving: () => {
          this.isServing = true;
        },
        free: async () => {
          await source.destroy();
          this.isFreed = true;
          return nowMs();
        },
      },
    );
  }

  /** @param ticket the source's */
  static async create(
    spec: GuestSpec,
    options: MigrationOptions,
    shares: Shares = {},
    ticket = TICKET,
  ): Promise<EnginePair> {
    return await EnginePair.of(await Guest.create(spec), options, shares, ticket);
  }

  /** For a guest that runs already: the pair's from now on. */
  static async of(
    source: Guest,
    options: MigrationOptions,
    shares: Shares = {},
    ticket = TICKET,
  ): Promise<EnginePair> {
    const destination = await Guest.incoming(source.spec);
    destination.control.leaseUntilMs = Number.POSITIVE_INFINITY;
    return new EnginePair(source, destination, options, shares, ticket);
  }

  /** Starts the source's side alone; answers its port. */
  async listen(): Promise<number> {
    this.#outcome ??= this.outgoing.run();
    return await this.port.promise;
  }

  /**
   * Starts the destination's side. @param bootIdOfSource another than this machine's makes it measure the
   * clocks
   */
  async connect(port: number, bootIdOfSource = bootId()): Promise<void> {
    const { options, destination: guest } = this;
    const settings = {
      ...{ migration: MIGRATION, guest, options, ticket: this.ticket },
      sourceAddress: '127.0.0.1',
    };
    this.incoming = new IncomingMigration(
      {
        ...settings,
        threads: THREADS,
        source: 'host-1',
        sourcePort: port,
        sourceBootId: bootIdOfSource,
        contents: this.#shares.contents,
      },
      {
        resumed: (resumedAtMs) => {
          this.resumedAtMs = resumedAtMs;
        },
        commitMissing: () => this.#ask('destination'),
        abandoned: (reason) => this.abandoned.push(reason),
      },
    );
    await this.incoming.connect();
  }

  /** Starts both sides. */
  async begin(): Promise<void> {
    await this.connect(await this.listen());
  }

  async outcome(): Promise<SourceOutcome> {
    return await (this.#outcome as Promise<SourceOutcome>);
  }

  async ends(): Promise<Ends> {
    return { outcome: await this.outcome(), result: await this.incoming.finished() };
  }

  /** A port behind which the source is, and a way to cut all connections through it, now or in time. */
  async relay(target: number): Promise<Relay> {
    const sockets: Socket[] = [];
    let bytesLeft = Number.POSITIVE_INFINITY;
    let downMs = 0;
    let downUntilMs = 0;
    const cut = (forMs = 0): void => {
      bytesLeft = Number.POSITIVE_INFINITY;
      downUntilMs = nowMs() + forMs;
      for (const socket of sockets.splice(0)) socket.destroy();
    };
    let told: ((socket: Socket, count: number) => void) | undefined;
    let dialled = 0;
    const server = createServer((near) => {
      if (told !== undefined) {
        near.on('error', () => {});
        sockets.push(near.resume());
        told(near, ++dialled);
        return;
      }
      if (nowMs() < downUntilMs) {
        near.destroy();
        return;
      }
      const far = connect(target, '127.0.0.1');
      sockets.push(near, far);
      for (const socket of [near, far]) socket.on('error', () => {});
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      far.on('data', ({ byteLength }) => {
        bytesLeft -= byteLength;
        if (bytesLeft <= 0) cut(downMs);
      });
      near.pipe(far);
      far.pipe(near);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const cutAfter = (byteCount: number, forMs: number): void => {
      bytesLeft = byteCount;
      downMs = forMs;
    };
    const restore = (): void => {
      downUntilMs = 0;
    };
    const onDial = (listener: typeof told): void => {
      told = listener;
    };
    return { port, cut, cutAfter, restore, onDial };
  }

  async end(): Promise<void> {
    for (const server of this.#servers) server.close();
    this.outgoing.cancel('the test is over');
    this.outgoing.guestGone('the test is over');
    this.outgoing.decide('source');
    this.incoming?.decide('source');
    await this.#outcome;
    await Promise.all([this.source.destroy(), this.destination.destroy()]);
  }

  async #ask(who: string): Promise<'source' | 'destination'> {
    this.asked.push(who);
    this.ranWhenAsked.push(this.destination.running);
    return this.verdict;
  }
}
