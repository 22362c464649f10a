/**
 * The host's line to the coordinator: registration, heartbeats, and the questions of docs/ownership.md. A coordinator
 * that is away is waited for: the host goes on, and registers again when it is back.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { isUnanswered, RpcError } from '../proto/errors.ts';
import {
  CoordinatorServiceClient,
  type CoordinatorServiceDrainHostResponse,
  type CoordinatorServiceResolveHandoverResponse,
  type CoordinatorServiceSettleHandoverResponse,
  type HeldGuest,
} from '../proto/generated/godwit/v1/coordinator.ts';
import type { HostStats } from '../proto/generated/godwit/v1/host.ts';
import { callStream, callUnary, clientFor, type MessageStream } from '../proto/rpc.ts';
import { nowMs } from './clock.ts';
import type { Lease } from './lease.ts';

export interface CoordinatorLinkSettings {
  readonly host: string;
  readonly coordinator: string;
  readonly capacityBytes: number;
  /** Differs from one process to the next. */
  readonly incarnation: string;
}

/** What the host is, told at registration and with each heartbeat. */
export interface HostPicture {
  /** Where its service answers. */
  readonly address: string;
  held(): HeldGuest[];
  heldWithSpecs(): HeldGuest[];
  stats(): HostStats;
}

const HEARTBEATS_PER_LEASE = 5;
const HEARTBEAT_MS_MIN = 50;
/** Between two attempts to reach a coordinator that is away. */
const RETRY_MS = 200;

export class CoordinatorLink {
  readonly #settings: CoordinatorLinkSettings;
  readonly #client: CoordinatorServiceClient;
  readonly #stop = new AbortController();
  #beating: Promise<void> = Promise.resolve();

  constructor(settings: CoordinatorLinkSettings) {
    this.#settings = settings;
    this.#client = clientFor(CoordinatorServiceClient, settings.coordinator);
  }

  /** Registers, trying again until the deadline, then keeps the lease alive until close(). */
  async start(lease: Lease, picture: HostPicture): Promise<void> {
    const giveUpAtMs = nowMs() + DEADLINES_MS.processStart;
    let leaseMs: number | undefined;
    while (leaseMs === undefined) {
      try {
        leaseMs = await this.#register(lease, picture);
      } catch (error) {
        if (!isUnanswered(error) || nowMs() > giveUpAtMs) throw error;
        await sleep(RETRY_MS, undefined, { signal: this.#stop.signal });
      }
    }
    this.#beating = this.#beat(leaseMs, lease, picture);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#beating;
    this.#client.close();
  }

  /** Rejects when the witness did not say yes in time; then it may still have it on record. */
  async beginHandover(guest: string, epoch: bigint, migration: string, destination: string): Promise<void> {
    const request = { guest, epoch, migration, source: this.#settings.host, destination };
    await callUnary(this.#client, 'beginHandover', request, {
      what: `recording that guest "${guest}" is about to be handed over to "${destination}"`,
      deadlineMs: DEADLINES_MS.durable,
      signal: this.#stop.signal,
    });
  }

  /**
   * Tells the witness that this host has the guest; asks again until it answers, as long as the guest is here.
   * A witness that does not know the guest has lost its record, and learns of the guest when this host registers.
   */
  settleHandover(
    guest: string,
    epoch: bigint,
    migration: string,
    isHere: () => boolean,
  ): Promise<CoordinatorServiceSettleHandoverResponse> {
    const request = { guest, epoch, migration, owner: this.#settings.host };
    return this.#untilAnswered(isHere, () =>
      callUnary(this.#client, 'settleHandover', request, {
        what: `settling the handover of guest "${guest}"`,
        deadlineMs: DEADLINES_MS.durable,
        signal: this.#stop.signal,
      }),
    );
  }

  /**
   * Asks the witness who has the guest; asks again until it can say. "Nobody" is not an answer while the guest is
   * here: the witness believes this host dead, which ends when it registers again.
   */
  resolveHandover(
    guest: string,
    epoch: bigint,
    migration: string,
    isHere: () => boolean,
  ): Promise<CoordinatorServiceResolveHandoverResponse> {
    const request = { guest, epoch, migration, askedBy: this.#settings.host };
    return this.#untilAnswered(isHere, async () => {
      const ruling = await callUnary(this.#client, 'resolveHandover', request, {
        what: `asking who has guest "${guest}"`,
        deadlineMs: DEADLINES_MS.resolve + DEADLINES_MS.query,
        signal: this.#stop.signal,
      });
      if (ruling.owner !== '') return ruling;
      throw new RpcError('UNAVAILABLE', `nobody is known to have guest "${guest}", but it is here`);
    });
  }

  /**
   * Asks to have this host's guests moved elsewhere. Once: a coordinator that is away may be so because everything
   * is being ended, and then nobody is to wait for it.
   */
  drain(withinMs: number): MessageStream<CoordinatorServiceDrainHostResponse> {
    const { host } = this.#settings;
    return callStream(
      this.#client,
      'drainHost',
      { host },
      {
        what: `asking the coordinator to drain host "${host}"`,
        deadlineMs: withinMs,
        signal: this.#stop.signal,
      },
    );
  }

  async #untilAnswered<T>(isHere: () => boolean, ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const isUnknown = error instanceof RpcError && error.code === 'NOT_FOUND';
        if (!isHere() || !(isUnanswered(error) || isUnknown)) throw error;
        await sleep(RETRY_MS, undefined, { signal: this.#stop.signal });
      }
    }
  }

  async #register(lease: Lease, picture: HostPicture): Promise<number> {
    const sentAtMs = nowMs();
    const { host, capacityBytes, incarnation, coordinator } = this.#settings;
    const answer = await callUnary(
      this.#client,
      'registerHost',
      {
        host,
        address: picture.address,
        capacityBytes: BigInt(capacityBytes),
        incarnation,
        guests: picture.heldWithSpecs(),
      },
      {
        what: `registering host "${host}" with the coordinator at ${coordinator}`,
        deadlineMs: DEADLINES_MS.durable,
        signal: this.#stop.signal,
      },
    );
    lease.renew(sentAtMs, answer.leaseMs);
    return answer.leaseMs;
  }

  async #beat(firstLeaseMs: number, lease: Lease, picture: HostPicture): Promise<void> {
    let leaseMs = firstLeaseMs;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const pauseMs = Math.max(leaseMs / HEARTBEATS_PER_LEASE, HEARTBEAT_MS_MIN);
      try {
        await sleep(pauseMs, undefined, { signal });
        leaseMs = await this.#heartbeat(leaseMs, lease, picture);
      } catch {
        // The coordinator is away, or we are being closed. The lease ends by itself when this lasts.
      }
    }
  }

  async #heartbeat(leaseMs: number, lease: Lease, picture: HostPicture): Promise<number> {
    const sentAtMs = nowMs();
    const { host, incarnation } = this.#settings;
    const answer = await callUnary(
      this.#client,
      'heartbeat',
      { host, incarnation, stats: picture.stats(), guests: picture.held() },
      { what: `heartbeat of host "${host}"`, deadlineMs: leaseMs, signal: this.#stop.signal },
    );
    if (answer.registerAgain) return await this.#register(lease, picture);
    lease.renew(sentAtMs, answer.leaseMs);
    return answer.leaseMs;
  }
}
