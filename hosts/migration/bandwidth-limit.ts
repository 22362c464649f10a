/**
 * The migration's max-bandwidth: a token bucket kept as the time at which the next byte may leave (the
 * virtual scheduling form of the leaky bucket, ITU-T I.371). What a timer oversleeps is made up for, up to a
 * short burst.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { MOVER_LIMITS, WIRE_LIMITS } from './limits.ts';

/** A thread that could not send for longer than this does not catch up on it. */
const BURST_MS = 50;
const MS_PER_S = 1000;

/** How unevenly bytes may leave, ms: so long a frame may take, and so much time may be made up for. */
export interface Evenness {
  readonly frameMs: number;
  readonly burstMs: number;
}

const DEFAULT_EVENNESS: Evenness = { frameMs: MOVER_LIMITS.limitedFrameMs, burstMs: BURST_MS };

export class BandwidthLimit {
  /** 0 for unlimited. */
  readonly bytesPerS: number;
  /** How many pages a frame may have so that it does not leave as one long burst. */
  readonly framePagesMax: number;
  readonly #burstMs: number;
  #nextAtMs = 0;

  /** @param bytesPerS 0 for unlimited */
  constructor(bytesPerS: number, { frameMs, burstMs } = DEFAULT_EVENNESS) {
    this.bytesPerS = bytesPerS;
    this.#burstMs = burstMs;
    const pages = Math.floor((bytesPerS * frameMs) / MS_PER_S / PAGE_BYTES);
    const { longRunPagesMax } = WIRE_LIMITS;
    this.framePagesMax = bytesPerS === 0 ? longRunPagesMax : Math.min(Math.max(pages, 1), longRunPagesMax);
  }

  /** How long the longest frame takes, ms; 0 without a limit. */
  get frameMs(): number {
    return this.bytesPerS === 0 ? 0 : ((this.framePagesMax * PAGE_BYTES) / this.bytesPerS) * MS_PER_S;
  }

  /** A pass over pages begins: what was not sent before it is not made up for. */
  begin(nowMs: number): void {
    this.#nextAtMs = Math.max(this.#nextAtMs, nowMs);
  }

  /**
   * Accounts for bytes that leave now.
   *
   * @returns how long to wait before the next ones, ms; 0 when there is no need to
   */
  spend(byteCount: number, nowMs: number): number {
    if (this.bytesPerS === 0) return 0;
    const startMs = Math.max(this.#nextAtMs, nowMs - this.#burstMs);
    this.#nextAtMs = startMs + (byteCount / this.bytesPerS) * MS_PER_S;
    const waitMs = this.#nextAtMs - nowMs;
    return waitMs < MOVER_LIMITS.limitWaitMsMin ? 0 : waitMs;
  }
}
