/** The coordinator's calls to hosts: one client for each address, a deadline and words for each call. */

import { DEADLINES_MS, PATIENCE } from '../proto/deadlines.ts';
import { dirtyRateDeadlineMs } from '../proto/dirty-rate.ts';
import { RpcError } from '../proto/errors.ts';
import type { DirtyRateOptions, DirtyRateReport } from '../proto/generated/godwit/v1/dirty_rate.ts';
import type { AuditReport, GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import {
  HandoverStanding,
  HostServiceClient,
  type HostServiceGetGuestStatsResponse,
  type HostServiceGetIncomingResponse,
  type HostServiceGetNetworkResponse,
  type HostServicePrepareIncomingRequest,
  type HostServiceProbeLinkRequest,
  type HostServiceProbeLinkResponse,
  type HostServiceSendTrafficRequest,
  type HostServiceSendTrafficResponse,
  type HostServiceServeProbeRequest,
  type HostServiceServeProbeResponse,
  type HostServiceSetNetworkRequest,
  type HostServiceStartMigrationRequest,
  type HostServiceStartMigrationResponse,
} from '../proto/generated/godwit/v1/host.ts';
import type { PostcopyArrival } from '../proto/generated/godwit/v1/migration.ts';
import type { LinkFault } from '../proto/generated/godwit/v1/network.ts';
import { callStream, callUnary, clientFor, type MessageStream } from '../proto/rpc.ts';
import type { HandoverQuestion, HostPort } from './host-port.ts';
import type { Standing } from './resolve-handover.ts';

export class HostClients implements HostPort {
  readonly #clients = new Map<string, HostServiceClient>();

  async queryHandover(address: string, question: HandoverQuestion): Promise<Standing> {
    const what = `ask the host at ${address} about migration ${question.migration}`;
    const call = { what, deadlineMs: DEADLINES_MS.query };
    const { standing } = await callUnary(this.#client(address), 'queryHandover', question, call);
    return standingOf(standing);
  }

  /** Does not mind when the guest is not there. */
  async destroyGuest(address: string, guest: string): Promise<void> {
    const call = { what: `destroy guest "${guest}"`, deadlineMs: DEADLINES_MS.query };
    try {
      await callUnary(this.#client(address), 'destroyGuest', { guest }, call);
    } catch (error) {
      if (!(error instanceof RpcError && error.code === 'NOT_FOUND')) throw error;
    }
  }

  async createGuest(address: string, spec: GuestSpec, epoch: bigint): Promise<void> {
    const call = { what: `create guest "${spec.name}"`, deadlineMs: DEADLINES_MS.guestWork };
    await callUnary(this.#client(address), 'createGuest', { spec, epoch }, call);
  }

  guestStats(address: string, guest: string, sinceMs: number): Promise<HostServiceGetGuestStatsResponse> {
    const call = { what: `read the statistics of guest "${guest}"`, deadlineMs: DEADLINES_MS.query };
    return callUnary(this.#client(address), 'getGuestStats', { guest, sinceMs }, call);
  }

  async auditGuest(address: string, guest: string): Promise<AuditReport | undefined> {
    const call = { what: `audit guest "${guest}"`, deadlineMs: DEADLINES_MS.guestWork };
    return (await callUnary(this.#client(address), 'auditGuest', { guest }, call)).report;
  }

  async measureDirtyRate(
    address: string,
    guest: string,
    options: DirtyRateOptions,
    signal: AbortSignal,
  ): Promise<DirtyRateReport | undefined> {
    const deadlineMs = dirtyRateDeadlineMs(options.calcTimeMs) + DEADLINES_MS.query;
    const call = { what: `measure the dirty rate of guest "${guest}"`, deadlineMs, signal };
    const request = { guest, options };
    return (await callUnary(this.#client(address), 'measureDirtyRate', request, call)).report;
  }

  startMigration(
    address: string,
    request: HostServiceStartMigrationRequest,
    signal: AbortSignal,
  ): MessageStream<HostServiceStartMigrationResponse> {
    const what = `move guest "${request.guest}" to ${request.destination}`;
    return callStream(this.#client(address), 'startMigration', request, { what, signal });
  }

  async prepareIncoming(
    address: string,
    destination: string,
    request: HostServicePrepareIncomingRequest,
  ): Promise<void> {
    const deadlineMs = DEADLINES_MS.dataConnect + DEADLINES_MS.query;
    const call = { what: `prepare ${destination} for guest "${request.spec?.name}"`, deadlineMs };
    await callUnary(this.#client(address), 'prepareIncoming', request, call);
  }

  getIncoming(address: string, migration: string): Promise<HostServiceGetIncomingResponse> {
    const deadlineMs = DEADLINES_MS.ledger + DEADLINES_MS.query;
    const call = { what: `read what the destination saw of migration ${migration}`, deadlineMs };
    return callUnary(this.#client(address), 'getIncoming', { migration }, call);
  }

  /** @param guestGone there is nobody at the destination either whom a source could serve */
  async cancelMigration(
    address: string,
    migration: string,
    reason: string,
    guestGone = false,
  ): Promise<void> {
    const call = { what: `cancel migration ${migration}`, deadlineMs: DEADLINES_MS.query };
    await callUnary(this.#client(address), 'cancelMigration', { migration, reason, guestGone }, call);
  }

  async switchMigration(address: string, migration: string): Promise<void> {
    const call = { what: `switch migration ${migration} to post-copy`, deadlineMs: DEADLINES_MS.query };
    await callUnary(this.#client(address), 'switchMigration', { migration }, call);
  }

  async recoverMigration(address: string, migration: string): Promise<void> {
    // The try itself has the deadline of a query.
    const call = { what: `recover migration ${migration}`, deadlineMs: 2 * DEADLINES_MS.query };
    await callUnary(this.#client(address), 'recoverMigration', { migration }, call);
  }

  async arrival(address: string, migration: string): Promise<PostcopyArrival | undefined> {
    const call = { what: `ask what has come of migration ${migration}`, deadlineMs: DEADLINES_MS.query };
    return (await callUnary(this.#client(address), 'getArrival', { migration }, call)).arrival;
  }

  async releaseFailpoint(address: string, migration: string): Promise<void> {
    const call = { what: `release migration ${migration}`, deadlineMs: DEADLINES_MS.query };
    await callUnary(this.#client(address), 'releaseFailpoint', { migration }, call);
  }

  async setNetwork(address: string, host: string, request: HostServiceSetNetworkRequest): Promise<void> {
    const call = { what: host, deadlineMs: DEADLINES_MS.network };
    await callUnary(this.#client(address), 'setNetwork', request, call);
  }

  getNetwork(address: string, host: string): Promise<HostServiceGetNetworkResponse> {
    const call = { what: host, deadlineMs: DEADLINES_MS.query };
    return callUnary(this.#client(address), 'getNetwork', {}, call);
  }

  async setLinkFault(address: string, host: string, fault: LinkFault): Promise<void> {
    const call = { what: host, deadlineMs: DEADLINES_MS.query };
    await callUnary(this.#client(address), 'setLinkFault', { fault }, call);
  }

  /** The other side answers the probe until the stream is cancelled. */
  serveProbe(
    address: string,
    host: string,
    request: HostServiceServeProbeRequest,
  ): MessageStream<HostServiceServeProbeResponse> {
    return callStream(this.#client(address), 'serveProbe', request, { what: host });
  }

  probeLink(
    address: string,
    host: string,
    request: HostServiceProbeLinkRequest,
  ): Promise<HostServiceProbeLinkResponse> {
    const { warmUpMs = 0, measureMs = 0 } = request.probe ?? {};
    const deadlineMs = DEADLINES_MS.probe + (warmUpMs + measureMs) * 2 * PATIENCE;
    const call = { what: host, deadlineMs };
    return callUnary(this.#client(address), 'probeLink', request, call);
  }

  /** Traffic goes on until the stream is cancelled. */
  sendTraffic(
    address: string,
    host: string,
    request: HostServiceSendTrafficRequest,
    signal: AbortSignal,
  ): MessageStream<HostServiceSendTrafficResponse> {
    return callStream(this.#client(address), 'sendTraffic', request, { what: host, signal });
  }

  /** Closes the clients of addresses that no host has any more. */
  retain(addresses: ReadonlySet<string>): void {
    for (const [address, client] of this.#clients) {
      if (addresses.has(address)) continue;
      client.close();
      this.#clients.delete(address);
    }
  }

  close(): void {
    this.retain(new Set());
  }

  #client(address: string): HostServiceClient {
    const known = this.#clients.get(address);
    if (known !== undefined) return known;
    const client = clientFor(HostServiceClient, address);
    this.#clients.set(address, client);
    return client;
  }
}

function standingOf(standing: HandoverStanding): Standing {
  switch (standing) {
    case HandoverStanding.HANDOVER_STANDING_KEPT:
      return 'kept';
    case HandoverStanding.HANDOVER_STANDING_COMMITTED:
      return 'committed';
    case HandoverStanding.HANDOVER_STANDING_READY:
      return 'ready';
    case HandoverStanding.HANDOVER_STANDING_READY_LACKING:
      return 'ready-lacking';
    case HandoverStanding.HANDOVER_STANDING_RESUMED:
      return 'resumed';
    case HandoverStanding.HANDOVER_STANDING_ABANDONED:
      return 'abandoned';
    case HandoverStanding.HANDOVER_STANDING_MOVING:
      return 'moving';
    // A later version's word: it answers, so it is neither dead nor to be judged.
    case HandoverStanding.HANDOVER_STANDING_UNSPECIFIED:
      return 'unreachable';
  }
}
