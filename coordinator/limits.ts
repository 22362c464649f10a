/** Every limit of the coordinator on what comes from outside and on what it keeps. */

import { DEADLINES_MS } from '../proto/deadlines.ts';

export const COORDINATOR_LIMITS = {
  hostsMax: 1_000,
  guestsMax: 10_000,
  /** Guests that one host may say that it holds. */
  heldGuestsMax: 1_000,
  /** Host addresses and incarnations. */
  textCharactersMax: 255,
  leaseMsMin: 100,
  /** A resolution may have to wait for a lease to end, and has to be done within its own deadline. */
  leaseMsMax: DEADLINES_MS.resolve / 2,
  /** Migrations of which one host is the source or the destination. */
  migrationsPerHostMax: 8,
  /** Migrations that the draining of one host runs at once: more would only share its link. */
  drainMovesMax: 2,
  endedMigrationsMax: 100,
  /** Closed handovers that are remembered for late questions, for each guest. */
  closedHandoversMax: 100,
  /** Guests that were destroyed while a host that has them was away. */
  tombstonesMax: 10_000,
  /** Events that are kept for the next watcher, and that one watcher may be behind. */
  eventsMax: 1_000,
  /** Progress messages that a caller of Migrate may be behind before the oldest are dropped. */
  progressMax: 256,
  watchersMax: 256,
} as const;
