/** What a host uses and has refused, for heartbeats and for people. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { HostStats } from '../proto/generated/godwit/v1/host.ts';
import type { GuestTable } from './guest-table.ts';

const LAG_RESOLUTION_MS = 20;
const NS_PER_MS = 1e6;

export class HostStatistics {
  readonly #table: GuestTable;
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  #refused = 0;

  constructor(table: GuestTable) {
    this.#table = table;
    this.#lag.enable();
  }

  /** Connections and frames on data ports that were refused. */
  countRefused(count: number): void {
    this.#refused += count;
  }

  /** The lag is the worst since the last call. */
  take(): HostStats {
    const lagMs = Math.max(this.#lag.max / NS_PER_MS - LAG_RESOLUTION_MS, 0);
    this.#lag.reset();
    return {
      residentBytes: BigInt(process.memoryUsage.rss()),
      guestMemoryBytes: BigInt(this.#table.promisedBytes),
      capacityBytes: BigInt(this.#table.capacityBytes),
      guestCount: this.#table.count,
      refused: BigInt(this.#refused),
      eventLoopLagMs: lagMs,
    };
  }

  close(): void {
    this.#lag.disable();
  }
}
