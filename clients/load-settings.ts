/** What a load generator is told, and what it answers: the same in its process and to whoever started it. */

export const PROTOCOLS = ['udp', 'tcp'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export const ARRIVALS = ['constant', 'poisson'] as const;
export type Arrivals = (typeof ARRIVALS)[number];

export interface LoadSettings {
  readonly protocol: Protocol;
  /** The guest's, "address:port". */
  readonly address: string;
  /** Requests per second, on average. */
  readonly ratePerS: number;
  /** When requests are due: at equal intervals, or as if from very many clients that know nothing of each other. */
  readonly arrivals: Arrivals;
  /** The share of requests that only read. */
  readonly read: number;
  /** Keys are 0 to keys - 1, all equally popular. */
  readonly keys: number;
  /** Decides keys, operations and arrivals. */
  readonly seed: number;
  /** After this time without an answer a request is lost. */
  readonly timeoutMs: number;
}

/** From a migration's acceptance to its end, in milliseconds of CLOCK_MONOTONIC. */
export interface MigrationWindow {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Latencies of one phase, ms from the moment when the request was due; null of no requests. */
export interface LatencySummary {
  readonly count: number;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
  readonly max: number | null;
}

export interface LoadReport {
  readonly sent: number;
  /** Within the timeout. */
  readonly answered: number;
  /** Not answered within the timeout. */
  readonly lost: number;
  /** Of these, answered after it. */
  readonly late: number;
  /** Answers that forgot a write which had been acknowledged, or that say that the request was malformed. */
  readonly wrong: number;
  /** TCP: how often the connection had to be made again. */
  readonly reconnects: number;
  /** By the moment when a request was due; without a migration all are before it. */
  readonly latencyMs: {
    readonly before: LatencySummary;
    readonly during: LatencySummary;
    readonly after: LatencySummary;
  };
  /** The longest time without an answer around the migration, or of the whole load; null when nothing was measured. */
  readonly gap: Gap | null;
}

export interface Gap {
  readonly ms: number;
  /** When it began, CLOCK_MONOTONIC. */
  readonly atMs: number;
}
