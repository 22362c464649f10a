/** The limits of what runs outside of the hosts: the forwarder and the load generator. */

export const FORWARDER_LIMITS = {
  guestsMax: 64,
  /** Connections of hosts, those included that have not said who they are. */
  hostConnectionsMax: 256,
  /** Of one guest: requests that have no answer yet. Beyond it UDP is dropped, and TCP is not read. */
  requestsMax: 65_536,
  /** Of one guest: TCP clients at a time. */
  clientsMax: 1024,
  /** Of datagrams that wait to be read; the kernel gives what it allows. */
  datagramBytesMax: 4 * 1024 * 1024,
  /** What may wait in a client's socket; a client that reads so little is disconnected. */
  unsentBytesMax: 1024 * 1024,
  /** How many ports are tried for one that is free for both UDP and TCP. */
  portTriesMax: 20,
  /** How often requests are looked for that nobody will answer any more. */
  sweepMs: 1000,
} as const;

export const LOAD_LIMITS = {
  /** How many answers one load generator remembers: more than an hour of 1,000 requests/s. */
  samplesMax: 4_000_000,
  /** Requests without an answer, those included whose time is over. */
  outstandingMax: 1_000_000,
  /** What waits to be sent on a TCP connection that is not there. */
  unsentBytesMax: 16 * 1024 * 1024,
  /** A latency is told up to this; beyond it it is this. */
  latencyMsMax: 3_600_000,
} as const;
