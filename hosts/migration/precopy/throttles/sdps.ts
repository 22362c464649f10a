/**
 * VMware's Slow Down During Page Send (vSphere 5.0, "vMotion Architecture, Performance and Best Practices"): a
 * guest that dirties its memory faster than it is sent has its vCPUs sleep for a few ms at a time, until it
 * dirties it a little more slowly. VMware publishes no more of the rule; here it is: from the end of the first
 * round on all vCPUs together may dirty SEND_SHARE of the pages that are being sent meanwhile, measured anew
 * about 20 times a second. What vCPUs do not need of their parts is left to the others. Who stays below never
 * sleeps.
 */

import type { DecisionLog } from '../decision-log.ts';
import type { PrecopyView } from '../precopy-view.ts';
import { quotaOf } from './dirty-limit.ts';
import { type Reins, sum } from './reins.ts';
import type { ThrottleRule } from './throttle-rule.ts';

/** Each round is then at most this of the one before. */
const SEND_SHARE = 0.7;
/** Over about this time the send rate is averaged: sockets take what they are given in bursts. */
const AVERAGE_MS = 300;
/**
 * A vCPU may always dirty this (QEMU's least sensible dirty limit, 1 MB/s): a link that stalls does not stop the
 * guest.
 */
const PAGES_PER_S_MIN = 256;
/** Smaller changes are no news. */
const NEWS = 0.2;
/** A shorter time says nothing about a rate. */
const LOOK_MS_MIN = 10;
const MS_PER_S = 1000;

export class Sdps implements ThrottleRule {
  readonly #reins: Reins;
  readonly #log: DecisionLog;
  #lookedAtMs: number | undefined;
  #sentBytes = 0;
  #faults: readonly number[] = [];
  #throttledMs: readonly number[] = [];
  #demands: readonly number[] = [];
  #sendPagesPerS = 0;
  #toldPagesPerS = 0;

  constructor(reins: Reins, log: DecisionLog) {
    this.#reins = reins;
    this.#log = log;
  }

  look(view: PrecopyView): void {
    const elapsedMs = view.nowMs - (this.#lookedAtMs ?? view.acceptedAtMs);
    const isOn = view.rounds.length > 0;
    if (elapsedMs >= LOOK_MS_MIN) {
      if (isOn) this.#measure(view, elapsedMs);
      this.#demand(elapsedMs);
      this.#lookedAtMs = view.nowMs;
      this.#sentBytes = view.sentBytes;
    }
    if (isOn) this.#pull(view);
  }

  /** What each vCPU would dirty if it were not slowed, pages per second. */
  #demand(elapsedMs: number): void {
    const { writeFaults, throttledMs } = this.#reins;
    this.#demands = writeFaults.map((faults, vcpu) => {
      const stoodStillMs = (throttledMs[vcpu] ?? 0) - (this.#throttledMs[vcpu] ?? 0);
      const ranMs = Math.max(elapsedMs - stoodStillMs, elapsedMs / 100);
      return ((faults - (this.#faults[vcpu] ?? 0)) / ranMs) * MS_PER_S;
    });
    this.#faults = writeFaults;
    this.#throttledMs = throttledMs;
  }

  /** How fast pages are being sent. */
  #measure({ sentBytes, pageBytes }: PrecopyView, elapsedMs: number): void {
    if (!(this.#sendPagesPerS > 0)) return;
    const nowPagesPerS = ((sentBytes - this.#sentBytes) / pageBytes / elapsedMs) * MS_PER_S;
    const weight = 1 - Math.exp(-elapsedMs / AVERAGE_MS);
    this.#sendPagesPerS += (nowPagesPerS - this.#sendPagesPerS) * weight;
  }

  #pull({ bandwidthBytesPerS, pageBytes }: PrecopyView): void {
    if (!(this.#sendPagesPerS > 0)) this.#sendPagesPerS = bandwidthBytesPerS / pageBytes;
    // Nothing is known of the link yet.
    if (!(this.#sendPagesPerS > 0)) return;
    const demands = this.#demands;
    const supply = this.#sendPagesPerS * SEND_SHARE;
    const level = Math.max(fairLevel(demands, supply), PAGES_PER_S_MIN);
    this.#reins.setQuota(quotaOf(level));
    const isSlowed = sum(demands) > supply;
    const isNews = Math.abs(level - this.#toldPagesPerS) > this.#toldPagesPerS * NEWS;
    if (!isSlowed || !isNews) return;
    this.#toldPagesPerS = level;
    this.#log.note('sdps', 'has vCPUs sleep that dirty more than so many pages/s', level);
  }
}

/**
 * What each of several may have at most, so that all together get no more than the supply, and all of it if they
 * want it: who wants less leaves the rest to the others.
 */
export function fairLevel(demands: readonly number[], supply: number): number {
  let left = supply;
  let others = demands.length;
  for (const demand of demands.toSorted((low, high) => low - high)) {
    const share = left / others;
    if (demand > share || others === 1) return share;
    left -= demand;
    others--;
  }
  return left;
}
