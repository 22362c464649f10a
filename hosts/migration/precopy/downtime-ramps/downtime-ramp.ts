/**
 * How the downtime limit grows while a guest does not converge: small at first, so that an easy guest has a short
 * pause, and `downtime-limit` in the end. It counts for the rules that heed a limit.
 */

import type { MigrationOptions } from '../../../../proto/generated/godwit/v1/migration.ts';

export interface RampMoment {
  /** Since the migration's acceptance. */
  readonly elapsedMs: number;
  /** The round that is under way, or was, from 1. */
  readonly round: number;
}

export interface DowntimeRamp {
  /** The limit from now on, ms. Asked in the order of time; it never falls. */
  limitMs(at: RampMoment): number;
}

export interface DowntimeRampContext {
  readonly options: MigrationOptions;
  readonly memoryBytes: number;
}
