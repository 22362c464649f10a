/**
 * What rules did while a migration ran, for its report: told as it happened, with a bound. Beyond it the newest
 * step takes the place of the one before it, so that the end of the story is always there.
 */

import type { Decision } from '../../../proto/generated/godwit/v1/migration.ts';
import { nowMs } from '../../clock.ts';
import { MOVER_LIMITS } from '../limits.ts';

export class DecisionLog {
  readonly decisions: Decision[] = [];

  /**
   * @param rule by its name in a spec
   * @param what it did, in words
   * @param value that it set, if any
   */
  note(rule: string, what: string, value = 0): void {
    if (this.decisions.length >= MOVER_LIMITS.decisionsMax) this.decisions.pop();
    this.decisions.push({ atMs: nowMs(), rule, what, value });
  }
}
