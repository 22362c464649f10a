/**
 * An open-loop load generator: requests are due at times of their own, whatever becomes of those before, and
 * each latency counts from the moment when the request was due. So a guest that stands still shows in the
 * latency of every request of that time, and not in one (Tene's "coordinated omission").
 *
 * It also knows what the guest may not forget: a key's version never falls below one that was answered before.
 */

import type { LoadReport, LoadSettings, MigrationWindow } from '../proto/client-load.ts';
import { nowMs } from '../proto/clock.ts';
import {
  decodeResponse,
  encodeRequest,
  type GuestResponse,
  RequestOperation,
  ResponseStatus,
} from '../proto/guest-request.ts';
import { AnswerLog } from './answer-log.ts';
import { Arrivals } from './arrivals.ts';
import { LOAD_LIMITS } from './limits.ts';
import { type LoadChannel, openChannel } from './load-channel.ts';

/** Node's timers count whole milliseconds and come late: the last of the way is slept in naps. */
const TIMER_COARSE_MS = 2;
/** What comes meanwhile is seen so late at most. */
const NAP_MS = 0.2;
/** Nobody ever changes it: waiting on it is sleeping. */
const PILLOW = new Int32Array(new SharedArrayBuffer(4));

interface Outstanding {
  readonly dueMs: number;
  readonly key: number;
  readonly operation: RequestOperation;
  /** The key's version that was known when it was sent. */
  readonly knownVersion: number;
}

export class LoadGenerator {
  readonly #settings: LoadSettings;
  readonly #arrivals: Arrivals;
  readonly #log = new AnswerLog();
  readonly #versions = new Map<number, number>();
  /** By their numbers, in the order in which they were due. */
  readonly #outstanding = new Map<number, Outstanding>();
  /** Those whose time is over. */
  readonly #overdue = new Map<number, Outstanding>();
  readonly #failed: (error: Error) => void;
  #channel: LoadChannel | undefined;
  #dueMs = 0;
  #sent = 0;
  #answered = 0;
  #lost = 0;
  #late = 0;
  #wrong = 0;
  #isSending = false;
  #drained: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  private constructor(settings: LoadSettings, failed: (error: Error) => void) {
    this.#settings = settings;
    this.#arrivals = new Arrivals(settings);
    this.#failed = failed;
  }

  /**
   * Connects, and begins at once.
   *
   * @param failed told when it can go on no more
   * @throws Error when nobody is there
   */
  static async start(settings: LoadSettings, failed: (error: Error) => void): Promise<LoadGenerator> {
    const generator = new LoadGenerator(settings, failed);
    const [host = '', port = ''] = settings.address.split(':');
    generator.#channel = await openChannel(settings.protocol, { host, port: Number(port) }, (message) =>
      generator.#received(message),
    );
    generator.#isSending = true;
    generator.#dueMs = nowMs();
    generator.#arm();
    return generator;
  }

  /** Stops sending, waits until every request has its answer or is lost, and tells what was seen. */
  async finish(window: MigrationWindow | undefined): Promise<LoadReport> {
    const endMs = nowMs();
    this.#isSending = false;
    if (this.#outstanding.size > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
        this.#arm();
      });
    }
    const reconnects = this.#channel?.reconnects ?? 0;
    this.close();
    return {
      sent: this.#sent,
      answered: this.#answered,
      lost: this.#lost,
      late: this.#late,
      wrong: this.#wrong,
      reconnects,
      latencyMs: this.#log.latencies(window),
      gap: this.#log.gap(window, endMs),
    };
  }

  /** Ends it without a word; may be called more than once. */
  close(): void {
    this.#isSending = false;
    this.#drained = undefined;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** Sets the alarm for the next request, or for the next whose time is over. */
  #arm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    const [first] = this.#outstanding.values();
    const overMs = first === undefined ? Number.POSITIVE_INFINITY : first.dueMs + this.#settings.timeoutMs;
    const atMs = this.#isSending ? Math.min(this.#dueMs, overMs) : overMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const inMs = atMs - nowMs();
    if (inMs > TIMER_COARSE_MS) {
      this.#timer = setTimeout(() => this.#arm(), Math.floor(inMs - TIMER_COARSE_MS));
    } else {
      this.#immediate = setImmediate(() => this.#tick(atMs));
    }
  }

  #tick(atMs: number): void {
    const inMs = atMs - nowMs();
    if (inMs > 0) Atomics.wait(PILLOW, 0, 0, Math.min(inMs, NAP_MS));
    const now = nowMs();
    this.#giveUp(now);
    while (this.#isSending && this.#dueMs <= now) {
      this.#request(this.#dueMs);
      this.#dueMs += this.#arrivals.nextIntervalMs();
    }
    this.#arm();
  }

  #request(dueMs: number): void {
    const number = ++this.#sent;
    const { key, operation } = this.#arrivals.nextChoice();
    if (this.#outstanding.size >= LOAD_LIMITS.outstandingMax) {
      this.#lost++;
      return;
    }
    const knownVersion = this.#versions.get(key) ?? 0;
    this.#outstanding.set(number, { dueMs, key, operation, knownVersion });
    this.#channel?.send(encodeRequest({ operation, key, number: BigInt(number) }));
  }

  /** Requests whose time is over. */
  #giveUp(now: number): void {
    for (const [number, request] of this.#outstanding) {
      if (request.dueMs + this.#settings.timeoutMs > now) return;
      this.#outstanding.delete(number);
      this.#lost++;
      this.#overdue.set(number, request);
      const [oldest] = this.#overdue.keys();
      if (this.#overdue.size > LOAD_LIMITS.outstandingMax && oldest !== undefined)
        this.#overdue.delete(oldest);
      this.#settle();
    }
  }

  #received(message: Buffer): void {
    const cameMs = nowMs();
    const response = decodeResponse(message);
    if (response === undefined) {
      this.#wrong++;
      return;
    }
    const number = Number(response.number);
    const request = this.#outstanding.get(number) ?? this.#overdue.get(number);
    // A second answer to the same request.
    if (request === undefined) return;
    if (this.#outstanding.delete(number)) this.#answered++;
    else this.#late++;
    this.#overdue.delete(number);
    if (!this.#isRight(request, response)) this.#wrong++;
    const known = this.#versions.get(request.key) ?? 0;
    this.#versions.set(request.key, Math.max(known, response.version));
    try {
      this.#log.add(request.dueMs, cameMs);
    } catch (error) {
      this.close();
      this.#failed(error as Error);
      return;
    }
    this.#settle();
  }

  #isRight(request: Outstanding, { status, operation, key, version }: GuestResponse): boolean {
    if (status !== ResponseStatus.OK || operation !== request.operation || key !== request.key) return false;
    const isWrite = operation === RequestOperation.SET;
    return isWrite ? version > request.knownVersion : version >= request.knownVersion;
  }

  #settle(): void {
    if (!this.#isSending && this.#outstanding.size === 0) this.#drained?.();
  }
}
