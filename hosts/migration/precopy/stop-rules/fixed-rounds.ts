/** As many rounds as `max-rounds`, whatever they bring: the yardstick by which the other rules can be judged. */

import type { StopRule, StopRuleContext, StopVerdict, StopView } from './stop-rule.ts';

export class FixedRoundsRule implements StopRule {
  readonly #rounds: number;

  constructor({ options }: StopRuleContext) {
    this.#rounds = options.maxRounds;
  }

  roundEnded({ rounds }: StopView): StopVerdict | undefined {
    if (rounds.length < this.#rounds) return undefined;
    return { reason: 'fixed-rounds', because: `${rounds.length} rounds were asked for` };
  }
}
