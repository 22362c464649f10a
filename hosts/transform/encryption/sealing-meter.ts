/** What sealing or opening cost one side of a migration, over all its connections. */

export class SealingMeter {
  bytesIn = 0;
  bytesOut = 0;
  /** It happens on one thread at one time, which does nothing else meanwhile: processor time as well. */
  timeMs = 0;

  /** A record is begun. */
  begin(): number {
    return performance.now();
  }

  /** And done. */
  end(begun: number, bytesIn: number, bytesOut: number): void {
    this.timeMs += performance.now() - begun;
    this.bytesIn += bytesIn;
    this.bytesOut += bytesOut;
  }
}
