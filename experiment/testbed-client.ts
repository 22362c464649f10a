/**
 * What people and experiments ask of a testbed, each as one call with its deadline and with words for when it
 * fails. Knows only the coordinator's address.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DEADLINES_MS, PATIENCE } from '../proto/deadlines.ts';
import { dirtyRateDeadlineMs } from '../proto/dirty-rate.ts';
import { RpcError } from '../proto/errors.ts';
import {
  CoordinatorServiceClient,
  type CoordinatorServiceDrainHostResponse,
  type CoordinatorServiceGetGuestStatsResponse,
  type CoordinatorServiceGetNetworkResponse,
  type CoordinatorServicePredictMigrationResponse,
  type Event,
  type GuestEntry,
  type HostEntry,
} from '../proto/generated/godwit/v1/coordinator.ts';
import type { DirtyRateOptions, DirtyRateReport } from '../proto/generated/godwit/v1/dirty_rate.ts';
import type { AuditReport, GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import type {
  MigrationOptions,
  MigrationProgress,
  MigrationReport,
} from '../proto/generated/godwit/v1/migration.ts';
import type {
  LinkComparison,
  LinkFault,
  NetworkShape,
  TrafficSample,
} from '../proto/generated/godwit/v1/network.ts';
import { callStream, callUnary, clientFor, type MessageStream } from '../proto/rpc.ts';

const CANCEL_RETRY_MS = 200;

/** How a link is probed: some round trips, then a transfer that fills it. */
const PROBE = { roundTripCount: 11, warmUpMs: 300, measureMs: 1000 } as const;

/** A migration to be made. */
export interface Move {
  readonly guest: string;
  /** Empty: the other host with the most room. */
  readonly destination: string;
  readonly options: MigrationOptions;
  /** Predict it before it begins; `auto` always is. */
  readonly predict?: boolean | undefined;
  readonly progress: (progress: MigrationProgress) => void;
  /** Cancels the migration, which then ends in order: its report still comes. */
  readonly signal?: AbortSignal | undefined;
}

export class TestbedClient {
  readonly #client: CoordinatorServiceClient;

  constructor(address: string) {
    this.#client = clientFor(CoordinatorServiceClient, address);
  }

  close(): void {
    this.#client.close();
  }

  async hosts(): Promise<HostEntry[]> {
    const what = 'list hosts';
    const { hosts } = await callUnary(
      this.#client,
      'listHosts',
      {},
      { what, deadlineMs: DEADLINES_MS.query },
    );
    return hosts;
  }

  /** Empties a host, which takes no guests from now on: what became of each guest, when it is known. */
  drain(host: string): MessageStream<CoordinatorServiceDrainHostResponse> {
    return callStream(this.#client, 'drainHost', { host }, { what: `drain ${host}` });
  }

  /** The host takes guests again. */
  async undrain(host: string): Promise<void> {
    const settings = { what: `undo the draining of ${host}`, deadlineMs: DEADLINES_MS.query };
    await callUnary(this.#client, 'undrainHost', { host }, settings);
  }

  async guests(): Promise<GuestEntry[]> {
    const what = 'list guests';
    const { guests } = await callUnary(
      this.#client,
      'listGuests',
      {},
      { what, deadlineMs: DEADLINES_MS.query },
    );
    return guests;
  }

  /** @returns the host that it was made on. @param host empty: the one with the most room. */
  async createGuest(spec: GuestSpec, host: string): Promise<string> {
    const settings = { what: `create guest ${spec.name}`, deadlineMs: DEADLINES_MS.guestWork };
    return (await callUnary(this.#client, 'createGuest', { spec, host }, settings)).host;
  }

  async destroyGuest(guest: string): Promise<void> {
    const settings = { what: `destroy guest ${guest}`, deadlineMs: DEADLINES_MS.guestWork };
    await callUnary(this.#client, 'destroyGuest', { guest }, settings);
  }

  /** The guest's operations since a time of its host's clock, ms. */
  guestStats(guest: string, sinceMs: number): Promise<CoordinatorServiceGetGuestStatsResponse> {
    const settings = { what: `read the operations of guest ${guest}`, deadlineMs: DEADLINES_MS.query };
    return callUnary(this.#client, 'getGuestStats', { guest, sinceMs }, settings);
  }

  async auditGuest(guest: string): Promise<AuditReport> {
    const settings = { what: `audit guest ${guest}`, deadlineMs: DEADLINES_MS.guestWork };
    const { report } = await callUnary(this.#client, 'auditGuest', { guest }, settings);
    if (report === undefined) throw new Error(`audit guest ${guest}: the answer holds no report`);
    return report;
  }

  /** How fast a guest writes pages, watched for the options' time. */
  async measureDirtyRate(guest: string, options: DirtyRateOptions): Promise<DirtyRateReport> {
    const what = `measure the dirty rate of guest ${guest}`;
    const deadlineMs = dirtyRateDeadlineMs(options.calcTimeMs) + 2 * DEADLINES_MS.query;
    const request = { guest, options };
    const { report } = await callUnary(this.#client, 'measureDirtyRate', request, { what, deadlineMs });
    if (report === undefined) throw new Error(`${what}: the answer holds no report`);
    return report;
  }

  /** @param target a guest's or a migration's name. */
  async cancel(target: string): Promise<void> {
    const settings = { what: `cancel the migration of ${target}`, deadlineMs: DEADLINES_MS.durable };
    await callUnary(this.#client, 'cancelMigration', { target }, settings);
  }

  /** Turns a running pre-copy or hybrid into post-copy. @param target a guest's or a migration's name. */
  async switchToPostCopy(target: string): Promise<void> {
    const settings = { what: `switch the migration of ${target}`, deadlineMs: DEADLINES_MS.durable };
    await callUnary(this.#client, 'switchMigration', { target }, settings);
  }

  /** Connects the hosts of a paused post-copy again. @param target a guest's or a migration's name. */
  async recover(target: string): Promise<void> {
    const settings = { what: `recover the migration of ${target}`, deadlineMs: DEADLINES_MS.query * 3 };
    await callUnary(this.#client, 'recoverMigration', { target }, settings);
  }

  /**
   * Gives a host's NIC a shape in place of the one before, or takes it away.
   * @param faults whether faults will be set on it.
   */
  async setNetwork(host: string, shape: NetworkShape | undefined, faults: boolean): Promise<void> {
    const deadlineMs = DEADLINES_MS.network + DEADLINES_MS.query;
    const settings = { what: `shape the network of ${host}`, deadlineMs };
    await callUnary(this.#client, 'setNetwork', { host, shape, faults }, settings);
  }

  network(host: string): Promise<CoordinatorServiceGetNetworkResponse> {
    const settings = { what: `read the network of ${host}`, deadlineMs: DEADLINES_MS.query * 2 };
    return callUnary(this.#client, 'getNetwork', { host }, settings);
  }

  async setLinkFault(host: string, fault: LinkFault): Promise<void> {
    const settings = { what: `set a fault of the network of ${host}`, deadlineMs: DEADLINES_MS.query * 2 };
    await callUnary(this.#client, 'setLinkFault', { host, fault }, settings);
  }

  /** What was asked of the path from one host to another, and what it carries. */
  async probe(source: string, destination: string): Promise<LinkComparison> {
    const what = `probe the link from ${source} to ${destination}`;
    const deadlineMs =
      DEADLINES_MS.probe + (PROBE.warmUpMs + PROBE.measureMs) * 2 * PATIENCE + DEADLINES_MS.query * 2;
    const request = { source, destination, ...PROBE };
    const { comparison } = await callUnary(this.#client, 'probeLink', request, { what, deadlineMs });
    if (comparison === undefined) throw new Error(`${what}: the answer holds no comparison`);
    return comparison;
  }

  /** Traffic of a set rate from one host to another until the signal: what became of it so far, again and again. */
  async *sendTraffic(
    source: string,
    destination: string,
    rateBytesPerS: number,
    signal: AbortSignal,
  ): AsyncGenerator<TrafficSample> {
    const what = `send traffic from ${source} to ${destination}`;
    const request = { source, destination, rateBytesPerS };
    const stream = callStream(this.#client, 'sendTraffic', request, { what, signal });
    for await (const { sample } of stream) if (sample !== undefined) yield sample;
  }

  async *events(signal: AbortSignal): AsyncGenerator<Event> {
    const stream = callStream(this.#client, 'watchEvents', {}, { what: 'watch events', signal });
    for await (const { event } of stream) if (event !== undefined) yield event;
  }

  /** What each technique would take; nothing moves. @param destination empty: the host with the most room */
  predict(
    guest: string,
    destination: string,
    options: MigrationOptions,
  ): Promise<CoordinatorServicePredictMigrationResponse> {
    const what = `predict a migration of guest ${guest}`;
    // Two probes, each with the deadline that it has alone.
    const deadlineMs = DEADLINES_MS.probe + DEADLINES_MS.dirtyRate + DEADLINES_MS.query * 2;
    const request = { guest, destination, options };
    return callUnary(this.#client, 'predictMigration', request, { what, deadlineMs });
  }

  /**
   * Moves a guest.
   * @returns its report, also of a migration that failed or was cancelled
   * @throws RpcError when it could not begin, or when the coordinator went away
   */
  async migrate(move: Move): Promise<MigrationReport> {
    const { guest, destination, options, predict, progress, signal } = move;
    const what = `migrate guest ${guest}`;
    const stream = callStream(this.#client, 'migrate', { guest, destination, options, predict }, { what });
    const ended = new AbortController();
    const cancel = (): void => void this.#cancelUntil(guest, ended.signal, () => stream.cancel());
    if (signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const { event } of stream) {
        if (event?.$case === 'report') return event.value;
        if (event?.$case === 'progress') progress(event.value);
      }
    } finally {
      ended.abort();
      signal?.removeEventListener('abort', cancel);
    }
    throw new RpcError('INTERNAL', `${what}: it ended without a report; see \`godwit guests\``);
  }

  /**
   * Asks for the cancellation again until the migration has ended: it may not have begun when it is first
   * asked, or be past its commit point. A migration of which nothing is heard is left alone after a while.
   */
  async #cancelUntil(guest: string, ended: AbortSignal, giveUp: () => void): Promise<void> {
    const giveUpAtMs = performance.now() + DEADLINES_MS.durable;
    while (!ended.aborted && performance.now() < giveUpAtMs) {
      // A refusal is no news: the migration's own end tells what became of it.
      await this.cancel(guest).catch(() => {});
      await sleep(CANCEL_RETRY_MS, undefined, { signal: ended }).catch(() => {});
    }
    if (!ended.aborted) giveUp();
  }
}
