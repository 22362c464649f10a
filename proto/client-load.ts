/**
 * A load of requests: what it may be, what a load generator is told and what it answers. Specs, records, the
 * command line and the load generator itself share it.
 */

export const CLIENT_PROTOCOLS = ['udp', 'tcp'] as const;
export type ClientProtocol = (typeof CLIENT_PROTOCOLS)[number];

/**
 * When requests are due: at equal intervals, or as if from very many clients that know nothing of each other.
 */
export const CLIENT_ARRIVALS = ['constant', 'poisson'] as const;
export type ClientArrivals = (typeof CLIENT_ARRIVALS)[number];

/**
 * How clients reach a guest: at an address that a forwarder keeps, or at the guest's own, which moves with it.
 */
export const CLIENT_WAYS = ['forwarder', 'address'] as const;
export type ClientWay = (typeof CLIENT_WAYS)[number];

export const CLIENT_LIMITS = {
  ratePerSMin: 0.1,
  ratePerSMax: 50_000,
  keysMax: 1_000_000,
  timeoutMsMin: 1,
  timeoutMsMax: 600_000,
} as const;

/** What a spec or a command line leaves out. */
export const DEFAULT_CLIENT_LOAD = {
  ratePerS: 1000,
  arrivals: 'constant',
  read: 0.9,
  keys: 1000,
  timeoutMs: 1000,
} as const satisfies {
  ratePerS: number;
  arrivals: ClientArrivals;
  read: number;
  keys: number;
  timeoutMs: number;
};

export interface LoadSettings {
  readonly protocol: ClientProtocol;
  /** The guest's, "address:port". */
  readonly address: string;
  /** Requests per second, on average. */
  readonly ratePerS: number;
  readonly arrivals: ClientArrivals;
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
  /**
   * The longest time without an answer around the migration, or of the whole load; null when nothing was
   * measured, or nothing answered that was due after the migration.
   */
  readonly gap: Gap | null;
}

export interface Gap {
  readonly ms: number;
  /** When it began, CLOCK_MONOTONIC. */
  readonly atMs: number;
}
