/** A rule that slows the guest, and what all of them have in common as governors of a pre-copy. */

import type { DecisionLog } from '../decision-log.ts';
import type { Governor } from '../governor.ts';
import type { PrecopyView } from '../precopy-view.ts';
import type { Reins } from './reins.ts';

export interface ThrottleRule {
  /** Looks at the pre-copy, and pulls the reins if need be. @param isRoundEnd or in the middle of a round */
  look(view: PrecopyView, isRoundEnd: boolean): void;
}

export class ThrottleGovernor implements Governor {
  readonly #reins: Reins;
  readonly #log: DecisionLog;
  readonly #rule: ThrottleRule;

  constructor(reins: Reins, log: DecisionLog, rule: ThrottleRule) {
    this.#reins = reins;
    this.#log = log;
    this.#rule = rule;
  }

  tick(view: PrecopyView): void {
    this.#rule.look(view, false);
  }

  roundEnded(view: PrecopyView): void {
    this.#reins.roundEnded(view);
    this.#rule.look(view, true);
  }

  end(): void {
    if (this.#reins.isOn) this.#log.note(this.#reins.rule, 'lets go of the guest');
    this.#reins.release();
  }
}
