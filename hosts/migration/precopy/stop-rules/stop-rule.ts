/**
 * When the rounds of a pre-copy end. A rule sees the rounds so far and says why they are to end now, or that another
 * follows. It does nothing by itself: rounds-end.ts bounds it by the migration's limits and carries out what it says.
 */

import type { RoundsEndReason } from '../../../../proto/convergence.ts';
import type { MigrationOptions } from '../../../../proto/generated/godwit/v1/migration.ts';
import type { PrecopyView } from '../precopy-view.ts';

export interface StopView extends PrecopyView {
  /** As the ramp has it now, if there is one. */
  readonly downtimeLimitMs: number;
  /** How long sending all dirty pages would take; undefined while it is not known. */
  readonly expectedDowntimeMs: number | undefined;
}

export interface StopVerdict {
  readonly reason: RoundsEndReason;
  /** The figures by which it was decided, for people. */
  readonly because: string;
  /** The rounds end without what they were for: `on-timeout` says what happens now. */
  readonly isTimeout?: boolean;
}

export interface StopRule {
  /** Asked once after each round; undefined: another round follows. */
  roundEnded(view: StopView): StopVerdict | undefined;
}

export interface StopRuleContext {
  readonly options: MigrationOptions;
  /** Tells what the rule did, other than ending the rounds. */
  readonly note: (what: string, value?: number) => void;
}

/** Pages that the newest round sent; its first pass sends all. */
export function lastSent({ rounds }: StopView): number {
  return Number(rounds.at(-1)?.pages ?? 0n);
}

/** Pages that the round before it sent; undefined after the first. */
export function sentBefore({ rounds }: StopView): number | undefined {
  const round = rounds.at(-2);
  return round === undefined ? undefined : Number(round.pages);
}
