/**
 * Traffic that is on the link besides the migrations of a trial: begun before they are, ended after them, and what
 * became of it meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationWindow } from '../proto/client-load.ts';
import { nowMs } from '../proto/clock.ts';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { errorText } from '../proto/errors.ts';
import { type BackgroundFacts, type HeardSample, inTime } from '../records/background-record.ts';
import type { TestbedClient } from './testbed-client.ts';

/** What comes first is the connections' beginning. */
const SETTLE_MS = 200;
const LOOK_MS = 10;

export interface BackgroundTraffic {
  readonly from: string;
  readonly to: string;
  readonly rateBytesPerS: number;
}

export class TrialBackground {
  readonly traffic: BackgroundTraffic;
  readonly #samples: HeardSample[] = [];
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #problem: string | undefined;

  constructor(traffic: BackgroundTraffic) {
    this.traffic = traffic;
  }

  /** Resolves when it passes. @throws Error when it does not come to */
  async start(client: TestbedClient, signal: AbortSignal): Promise<void> {
    const { from, to, rateBytesPerS } = this.traffic;
    this.#running = this.#follow(client, from, to, rateBytesPerS).catch((error: unknown) => {
      this.#problem = errorText(error);
    });
    const lateAtMs = nowMs() + DEADLINES_MS.dataConnect;
    while (this.#samples.length === 0) {
      signal.throwIfAborted();
      if (nowMs() > lateAtMs) this.#problem ??= 'nothing of it arrived in time';
      if (this.#problem !== undefined) throw new Error(`the background traffic: ${this.#problem}`);
      await sleep(LOOK_MS, undefined, { signal });
    }
    await sleep(SETTLE_MS, undefined, { signal });
    this.#samples.splice(0, this.#samples.length - 1);
  }

  /** What became of it around a migration. @param window by this machine's clock */
  facts(window: MigrationWindow): BackgroundFacts {
    const { from, to, rateBytesPerS } = this.traffic;
    return { from, to, rateBytesPerS, ...inTime(this.#samples, window) };
  }

  /** Ends it; may be called more than once. @returns what went wrong with it before, or undefined */
  async end(): Promise<string | undefined> {
    this.#stop.abort();
    await this.#running;
    return this.#problem;
  }

  async #follow(client: TestbedClient, from: string, to: string, rateBytesPerS: number): Promise<void> {
    const { signal } = this.#stop;
    try {
      for await (const sample of client.sendTraffic(from, to, rateBytesPerS, signal)) {
        this.#samples.push({ heardAtMs: nowMs(), ...sample });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (!signal.aborted) throw new Error('it ended by itself');
  }
}
