/** Takes of the link what others leave (delay-control.ts): the rule is told what was seen, the sender what to take. */

import { nowMs } from '../../../clock.ts';
import { BandwidthLimit } from '../../bandwidth-limit.ts';
import type { LinkEstimator } from '../../link-estimator.ts';
import type { PageSender } from '../../page-sender.ts';
import type { DecisionLog } from '../decision-log.ts';
import type { Governor } from '../governor.ts';
import type { PrecopyView } from '../precopy-view.ts';
import { DELAY_RULE, DelayControl } from './delay-control.ts';

const MS_PER_S = 1000;
/** A step is told of when it leads so far away from the last one that was. */
const TOLD_FACTOR = 1.25;
/** And not more often. */
const TOLD_EVERY_MS = 250;

export class DelayRule implements Governor {
  readonly #pageSender: PageSender;
  readonly #link: LinkEstimator;
  readonly #log: DecisionLog;
  readonly #maxBytesPerS: number;
  readonly #control: DelayControl;
  #seen: { readonly bytes: number; readonly atMs: number | undefined };
  #told = { bytesPerS: 0, atMs: Number.NEGATIVE_INFINITY };
  #taken = 0;
  #isOver = false;

  /** @param maxBytesPerS 0 for unlimited */
  constructor(pageSender: PageSender, link: LinkEstimator, log: DecisionLog, maxBytesPerS: number) {
    this.#pageSender = pageSender;
    this.#link = link;
    this.#log = log;
    this.#maxBytesPerS = maxBytesPerS;
    this.#control = new DelayControl(maxBytesPerS);
    this.#seen = link.received;
    this.#take();
    this.#tell(nowMs(), undefined);
  }

  tick({ nowMs: atMs }: PrecopyView): void {
    if (this.#isOver || !this.#control.isDue(atMs)) return;
    const { bandwidthBytesPerS, leastRoundTripMs: roundTripMs } = this.#link;
    const queueMs = this.#link.takeQueueMs();
    const arrivedBytesPerS = this.#arrivedBytesPerS();
    this.#control.step({ nowMs: atMs, queueMs, bandwidthBytesPerS, arrivedBytesPerS, roundTripMs });
    if (this.#control.bytesPerS === this.#taken) return;
    this.#take();
    this.#tell(atMs, queueMs);
  }

  /** What arrives when a round ends says nothing of the rate. */
  roundEnded(): void {
    this.#seen = this.#link.received;
    this.#link.takeQueueMs();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pageSender.limit = new BandwidthLimit(this.#maxBytesPerS);
  }

  #arrivedBytesPerS(): number | undefined {
    const before = this.#seen;
    this.#seen = this.#link.received;
    const { bytes, atMs } = this.#seen;
    if (before.atMs === undefined || atMs === undefined || atMs <= before.atMs) return undefined;
    return ((bytes - before.bytes) / (atMs - before.atMs)) * MS_PER_S;
  }

  #take(): void {
    this.#taken = this.#control.bytesPerS;
    this.#pageSender.limit = new BandwidthLimit(this.#taken, DELAY_RULE.evenness);
  }

  #tell(atMs: number, queueMs: number | undefined): void {
    const factor = this.#taken / this.#told.bytesPerS;
    const isSmall = factor < TOLD_FACTOR && factor > 1 / TOLD_FACTOR;
    if (isSmall || atMs - this.#told.atMs < TOLD_EVERY_MS) return;
    this.#told = { bytesPerS: this.#taken, atMs };
    const queue = queueMs === undefined ? '' : `a queue of ${queueMs.toFixed(1)} ms: `;
    this.#log.note('delay', `${queue}takes ${(this.#taken / 1e6).toFixed(1)} MB/s of the link`, this.#taken);
  }
}
