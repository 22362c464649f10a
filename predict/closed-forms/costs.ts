/** What checkpoint replication costs a guest and what a migration costs in energy, as formulas. */

/** An epoch of checkpoint replication (Remus, NSDI 2008). */
export interface Epoch {
  /** For so long the guest runs. */
  readonly seconds: number;
  /** Pages that it writes in it. */
  readonly dirtyPages: number;
  /** To stop and start the guest, and to copy one page aside. */
  readonly stopS: number;
  readonly copyPageS: number;
}

export interface Replication {
  readonly pauseS: number;
  /** Of the processor, what the guest keeps. */
  readonly speed: number;
  readonly bytesPerS: number;
  /** How long what the guest says waits until it may be heard, on average. */
  readonly outputDelayS: number;
}

/** @param bytesPerS of the link: an epoch whose pages take longer than it lasts is stretched to that */
export function replication(
  epoch: Epoch,
  pageBytes: number,
  bytesPerS: number,
  roundTripS: number,
): Replication {
  const sendS = (epoch.dirtyPages * pageBytes) / bytesPerS;
  const pauseS = epoch.stopS + epoch.dirtyPages * epoch.copyPageS;
  const runS = Math.max(epoch.seconds, sendS - pauseS);
  const wholeS = runS + pauseS;
  return {
    pauseS,
    speed: runS / wholeS,
    bytesPerS: (epoch.dirtyPages * pageBytes) / wholeS,
    outputDelayS: runS / 2 + sendS + roundTripS,
  };
}

/** Of both hosts together, by the megabytes (10^6) that were sent (Liu et al., HPDC 2011). */
export function migrationJoules(sentMegabytes: number): number {
  return 0.512 * sentMegabytes + 20.165;
}

/** For how long a host has to stay empty until the migration has paid for itself. */
export function payBackS(joules: number, idleWatts: number): number {
  return joules / idleWatts;
}
