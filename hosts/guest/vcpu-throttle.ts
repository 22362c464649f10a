/**
 * The vCPU's side of being slowed (throttle-control.ts): how long it is to stand still at this safepoint.
 *
 * - By a duty cycle, as QEMU's cpu-throttle: of each timeslice of 10 ms so many percent. What it owes grows with
 *   the time that it runs, idle or not, and is paid when it is a timeslice's part; a wake-up that comes late is
 *   credited, so that the share of the time is kept whatever the timers do.
 * - By a quota of pages that it may dirty in a period (write faults: first writes after the mark was cleared).
 *   When it is used up the vCPU stands still until the next period. What one operation takes too much counts for
 *   the next.
 */

import { quotaWord, throttleWord } from './control-layout.ts';
import { OWED_MS_MAX, THROTTLE_CREDIT_MS_MAX, THROTTLE_TIMESLICE_MS } from './limits.ts';
import { COUNTER_THROTTLED_MS, COUNTER_WRITE_FAULTS, countersOf, type SharedGuest } from './shared-guest.ts';
import { PERCENT_STEPS, QUOTA_PERIODS } from './throttle-control.ts';

export class VcpuThrottle {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #throttleWord: number;
  readonly #quotaWord: number;
  readonly #counters: Float64Array<SharedArrayBuffer>;
  #wasOn = false;
  /** Of the time so far: until when it is in what is owed. */
  #untilMs = 0;
  /** The part of the time that the vCPU is to stand still, and what it owes of that. */
  #share = 0;
  #owedMs = 0;
  /** It pays until nothing is owed, even if it is woken up meanwhile, as by a client's request. */
  #isPaying = false;
  /** Of the quota: its period, when that began, and what of it is used. */
  #quotaPages = Number.POSITIVE_INFINITY;
  #periodStartMs = 0;
  #usedPages = 0;
  #countedPages = 0;

  constructor(shared: SharedGuest, vcpu: number) {
    this.#words = new Int32Array(shared.control);
    this.#throttleWord = throttleWord(vcpu);
    this.#quotaWord = quotaWord(vcpu);
    this.#counters = countersOf(shared, vcpu);
  }

  /** Whether the vCPU is slowed now. Asked at each safepoint. */
  isOn(): boolean {
    if (Atomics.load(this.#words, this.#throttleWord) !== 0) return true;
    if (Atomics.load(this.#words, this.#quotaWord) !== 0) return true;
    if (this.#wasOn) this.#reset();
    return false;
  }

  #reset(): void {
    this.#wasOn = false;
    this.#share = 0;
    this.#owedMs = 0;
    this.#isPaying = false;
    this.#quotaPages = Number.POSITIVE_INFINITY;
    this.#usedPages = 0;
  }

  /** The vCPU goes on at this time of the clock: it owes nothing for the pause. */
  start(clockMs: number): void {
    this.#untilMs = clockMs;
  }

  /** How long the vCPU is to stand still now; 0: not at all. It is slowed. */
  dueMs(clockMs: number): number {
    if (!this.#wasOn) {
      this.#wasOn = true;
      this.#untilMs = clockMs;
      this.#periodStartMs = clockMs;
      this.#countedPages = this.#dirtiedPages;
    }
    return Math.max(this.#dutyMs(clockMs), this.#quotaMs(clockMs));
  }

  #dutyMs(clockMs: number): number {
    const share = Atomics.load(this.#words, this.#throttleWord) / (100 * PERCENT_STEPS);
    const ranMs = clockMs - this.#untilMs;
    this.#share = share;
    this.#untilMs = clockMs;
    this.#owedMs = Math.min(this.#owedMs + (ranMs * share) / (1 - share), OWED_MS_MAX);
    this.#isPaying = this.#owedMs > 0 && (this.#isPaying || this.#owedMs >= share * THROTTLE_TIMESLICE_MS);
    return this.#isPaying ? this.#owedMs : 0;
  }

  #quotaMs(clockMs: number): number {
    const quota = Atomics.load(this.#words, this.#quotaWord);
    const dirtied = this.#dirtiedPages;
    this.#usedPages += dirtied - this.#countedPages;
    this.#countedPages = dirtied;
    if (quota === 0) {
      this.#quotaPages = Number.POSITIVE_INFINITY;
      this.#usedPages = 0;
      this.#periodStartMs = clockMs;
      return 0;
    }
    const periodMs = quota % QUOTA_PERIODS;
    this.#quotaPages = (quota - periodMs) / QUOTA_PERIODS;
    const periods = Math.floor((clockMs - this.#periodStartMs) / periodMs);
    this.#periodStartMs += periods * periodMs;
    this.#usedPages = Math.max(0, this.#usedPages - periods * this.#quotaPages);
    const periodsToWait = Math.floor(this.#usedPages / this.#quotaPages);
    return periodsToWait === 0 ? 0 : this.#periodStartMs + periodsToWait * periodMs - clockMs;
  }

  get #dirtiedPages(): number {
    return this.#counters[COUNTER_WRITE_FAULTS] as number;
  }

  /** It stood still, or was woken up meanwhile. */
  stoodStill(fromMs: number, toMs: number): void {
    const durationMs = toMs - fromMs;
    this.#counters[COUNTER_THROTTLED_MS] = (this.#counters[COUNTER_THROTTLED_MS] as number) + durationMs;
    this.#owedMs = Math.max(this.#owedMs - durationMs, -THROTTLE_CREDIT_MS_MAX);
    this.#untilMs = toMs;
  }

  /** How long it may sleep because nothing is to be done, until it has to stand still. */
  idleMsMax(): number {
    if (this.#share === 0) return Number.POSITIVE_INFINITY;
    const leftMs = this.#share * THROTTLE_TIMESLICE_MS - this.#owedMs;
    return Math.max((leftMs * (1 - this.#share)) / this.#share, 0);
  }

  /** How many pages it may dirty until it is to stand still. */
  pagesLeft(): number {
    return Math.max(this.#quotaPages - this.#usedPages, 1);
  }
}
