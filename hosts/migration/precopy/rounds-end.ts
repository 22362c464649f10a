/**
 * Whether another round of a pre-copy follows, and what follows when none does. The stop rule decides; somebody's
 * word and a hybrid's own switch come before it, and whatever it says, the rounds end by `max-rounds` and in time.
 * Before a guest is paused for longer than its downtime limit, or for nobody knows how long, that is said, with the
 * reason.
 */

import {
  convergenceOf,
  DOWNTIME_RAMPS,
  type RoundsEndReason,
  STOP_RULES,
} from '../../../proto/convergence.ts';
import { type MigrationOptions, OnTimeout } from '../../../proto/generated/godwit/v1/migration.ts';
import { expectedDowntimeMs } from '../estimates.ts';
import type { SwitchRequest } from '../switch-request.ts';
import type { DecisionLog } from './decision-log.ts';
import type { DowntimeRamp } from './downtime-ramps/downtime-ramp.ts';
import { DOWNTIME_RAMP_MAKERS } from './downtime-ramps/registry.ts';
import type { PrecopyView } from './precopy-view.ts';
import { fits, fitsText } from './stop-rules/downtime-limit.ts';
import { STOP_RULE_MAKERS } from './stop-rules/registry.ts';
import type { StopRule, StopVerdict, StopView } from './stop-rules/stop-rule.ts';
import { Timeouts } from './timeouts.ts';

export interface RoundsEndContext {
  readonly options: MigrationOptions;
  readonly acceptedAtMs: number;
  readonly memoryBytes: number;
  readonly switchRequest: SwitchRequest;
  readonly log: DecisionLog;
  /** Tells people now. */
  readonly say: (note: string) => void;
}

/** Where a round stands that is being sent. */
export interface RoundMoment extends Pick<PrecopyView, 'nowMs' | 'pageCount' | 'round' | 'sentPages'> {
  /**
   * What would be sent if nothing more were written: dirty pages, and those of this round that have not gone. Costs a
   * look at the page table.
   */
  readonly pendingPages: () => number;
}

export class RoundsEnd {
  readonly #context: RoundsEndContext;
  readonly #ruleName: string;
  readonly #rule: StopRule;
  readonly #rampName: string;
  readonly #ramp: DowntimeRamp;
  readonly #timeouts: Timeouts;
  /** As the ramp has it now; undefined before the first round. */
  #limitMs: number | undefined;
  #reason: RoundsEndReason | '' = '';
  #goesOnAsPostCopy = false;

  constructor(context: RoundsEndContext) {
    const { options, memoryBytes, log } = context;
    const { stopRule, downtimeRamp } = convergenceOf(options);
    const ruleName = STOP_RULES.nameOf(stopRule) ?? 'downtime-limit';
    const rampName = DOWNTIME_RAMPS.nameOf(downtimeRamp) ?? 'none';
    this.#context = context;
    this.#ruleName = ruleName;
    this.#rule = STOP_RULE_MAKERS[ruleName]({
      options,
      note: (what, value) => log.note(ruleName, what, value),
    });
    this.#rampName = rampName;
    this.#ramp = DOWNTIME_RAMP_MAKERS[rampName]({ options, memoryBytes });
    this.#timeouts = new Timeouts(options, memoryBytes);
  }

  /** Why the rounds ended; empty while they go on. */
  get reason(): RoundsEndReason | '' {
    return this.#reason;
  }

  /** What was not sent in the rounds follows when the guest runs at the destination. */
  get goesOnAsPostCopy(): boolean {
    return this.#goesOnAsPostCopy;
  }

  /** Whether the round that is being sent is to end here: it is the last. */
  endsRound(moment: RoundMoment): boolean {
    const elapsedMs = moment.nowMs - this.#context.acceptedAtMs;
    this.#climb(elapsedMs, moment.round);
    const timeout = this.#timeouts.expired(elapsedMs, moment.pendingPages);
    return timeout !== undefined || this.#switchDue(moment) !== undefined;
  }

  /**
   * A round is over. Whether it was the last; then it is decided what follows.
   *
   * @throws when the guest does not converge within the limits and the options say to give up then
   */
  decide(view: PrecopyView): boolean {
    const elapsedMs = view.nowMs - this.#context.acceptedAtMs;
    const downtimeLimitMs = this.#climb(elapsedMs, view.round);
    const { dirtyPages, pageBytes, bandwidthBytesPerS } = view;
    const expectedMs = expectedDowntimeMs(dirtyPages, pageBytes, bandwidthBytesPerS);
    const stopView = { ...view, downtimeLimitMs, expectedDowntimeMs: expectedMs };
    const verdict = this.#verdict(stopView, elapsedMs);
    if (verdict === undefined) return false;
    this.#end(verdict, stopView);
    return true;
  }

  /** Whatever ends the rounds without what they were for, a pause within the downtime limit is no such end. */
  #verdict(view: StopView, elapsedMs: number): StopVerdict | undefined {
    const verdict = this.#ruling(view, elapsedMs);
    if (verdict?.isTimeout !== true) return verdict;
    // Wherever the ramp stands.
    const { downtimeLimitMs } = this.#context.options;
    return fits({ ...view, downtimeLimitMs }) ? { reason: 'converged', because: fitsText(view) } : verdict;
  }

  #ruling(view: StopView, elapsedMs: number): StopVerdict | undefined {
    const { maxRounds, minDirtyPages, technique, switchAfterRounds } = this.#context.options;
    const due = this.#switchDue(view);
    if (due !== undefined) return { reason: due, because: 'it was asked for' };
    if (technique === 'hybrid' && switchAfterRounds > 0 && view.rounds.length >= switchAfterRounds) {
      return { reason: 'switch-after-rounds', because: `${view.rounds.length} rounds were asked for` };
    }
    const timeout = this.#timeouts.expired(elapsedMs, () => view.dirtyPages);
    // A round that was cut short tells a rule nothing.
    if (timeout !== undefined) {
      return { reason: timeout, because: this.#timeouts.text(timeout), isTimeout: true };
    }
    const verdict = this.#rule.roundEnded(view);
    if (verdict !== undefined) return verdict;
    if (this.#ruleName !== 'fixed-rounds' && view.dirtyPages <= minDirtyPages) {
      return { reason: 'converged', because: `${view.dirtyPages} pages are dirty` };
    }
    if (view.rounds.length < maxRounds) return undefined;
    return { reason: 'max-rounds', because: `${maxRounds} rounds are over`, isTimeout: true };
  }

  /** What ends a round early, for the switch to post-copy. */
  #switchDue({
    nowMs,
    sentPages,
    pageCount,
  }: Pick<PrecopyView, 'nowMs' | 'sentPages' | 'pageCount'>): RoundsEndReason | undefined {
    const { acceptedAtMs, options, switchRequest } = this.#context;
    if (switchRequest.isRequested) return 'switch-by-hand';
    if (options.technique !== 'hybrid') return undefined;
    const { switchAfterShare, switchAfterMs } = options;
    if (switchAfterShare > 0 && sentPages >= switchAfterShare * pageCount) return 'switch-after-share';
    if (switchAfterMs > 0 && nowMs - acceptedAtMs >= switchAfterMs) return 'switch-after';
    return undefined;
  }

  /** Takes the steps of the ramp that are due, and answers the limit. At first it is where the ramp begins. */
  #climb(elapsedMs: number, round: number): number {
    const isFirst = this.#limitMs === undefined;
    const limitMs = this.#ramp.limitMs(isFirst ? { elapsedMs: 0, round: 1 } : { elapsedMs, round });
    if (this.#rampName !== 'none' && limitMs !== this.#limitMs) {
      this.#context.log.note(this.#rampName, `the downtime limit is ${limitMs.toFixed(0)} ms`, limitMs);
    }
    this.#limitMs = limitMs;
    return limitMs;
  }

  /** The rounds are over: from here on nobody can ask for a switch any more. Who has asked before, gets it. */
  #end(verdict: StopVerdict, view: StopView): void {
    const { options, switchRequest, log } = this.#context;
    const wasAsked = !switchRequest.close();
    this.#reason = wasAsked ? 'switch-by-hand' : verdict.reason;
    if (wasAsked || options.technique === 'hybrid') {
      this.#goesOnAsPostCopy = true;
    } else if (verdict.isTimeout === true && options.onTimeout !== OnTimeout.ON_TIMEOUT_STOP_AND_COPY) {
      if (options.onTimeout === OnTimeout.ON_TIMEOUT_ABORT) this.#giveUp(verdict, view);
      this.#goesOnAsPostCopy = true;
    }
    if (!this.#goesOnAsPostCopy) this.#announcePause(verdict, view);
    else if (!wasAsked && !isPlain(verdict)) {
      const why = `(${verdict.reason}): ${verdict.because}`;
      log.note(this.#decider(verdict), `goes on as post-copy ${why}`, view.expectedDowntimeMs);
    }
  }

  /** Who decided: the rule, or a limit. */
  #decider({ reason, isTimeout }: StopVerdict): string {
    return isTimeout === true && reason !== 'stalled' ? 'on-timeout' : this.#ruleName;
  }

  /** A pause follows. It is worth a word when it is not the plain case, and everybody hears of one that is too long. */
  #announcePause(verdict: StopVerdict, { expectedDowntimeMs: expectedMs }: StopView): void {
    const { options, log, say } = this.#context;
    const isWithin = expectedMs !== undefined && expectedMs <= options.downtimeLimitMs;
    const why = `(${verdict.reason}): ${verdict.because}`;
    const decider = this.#decider(verdict);
    if (isWithin) {
      if (!isPlain(verdict)) log.note(decider, `ends the rounds ${why}`, expectedMs);
      return;
    }
    const limit = `its downtime limit of ${options.downtimeLimitMs} ms`;
    const length =
      expectedMs === undefined
        ? `for nobody knows how long, whatever ${limit}`
        : `for about ${expectedMs.toFixed(1)} ms, longer than ${limit}`;
    const what = `pauses the guest ${length} ${why}`;
    log.note(decider, what, expectedMs);
    say(`${decider} ${what}`);
  }

  #giveUp(
    { reason, because }: StopVerdict,
    { rounds, dirtyPages, expectedDowntimeMs: expectedMs }: StopView,
  ): never {
    const { options, log } = this.#context;
    const expected = expectedMs === undefined ? 'of unknown length' : `of ${expectedMs.toFixed(1)} ms`;
    log.note('on-timeout', `gives up (${reason}): ${because}`, expectedMs);
    throw new Error(
      `the guest does not converge (${reason}): in round ${rounds.length} ` +
        `${dirtyPages} pages are still to be sent, an expected downtime ${expected}; allowed is ` +
        `${options.downtimeLimitMs} ms. Raise the downtime limit or the bandwidth, or let it stop and copy`,
    );
  }
}

/** It came as it was wanted, and needs no word. */
function isPlain({ reason }: StopVerdict): boolean {
  return reason === 'converged' || reason.startsWith('switch-');
}
