/** What a load of requests may be: the names and limits that specs, the command line and the load generator share. */

export const CLIENT_PROTOCOLS = ['udp', 'tcp'] as const;
export type ClientProtocol = (typeof CLIENT_PROTOCOLS)[number];

/** When requests are due: at equal intervals, or as if from very many clients that know nothing of each other. */
export const CLIENT_ARRIVALS = ['constant', 'poisson'] as const;
export type ClientArrivals = (typeof CLIENT_ARRIVALS)[number];

/** How clients reach a guest: at an address that a forwarder keeps, or at the guest's own, which moves with it. */
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
