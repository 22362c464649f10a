/**
 * Clark et al. (NSDI 2005, section 5.3): each round goes at the dirty rate of the one before it and 50 Mbit/s more.
 * Stop when that would be more than the maximum, or when less than 256 KB remain. The other half is the bandwidth
 * rule of the same name, which sets the rate; without it the rule decides all the same. It pays no heed to a
 * downtime limit.
 */

import type { MigrationOptions } from '../../../../proto/generated/godwit/v1/migration.ts';
import type { StopRule, StopRuleContext, StopVerdict, StopView } from './stop-rule.ts';

const BITS_PER_BYTE = 8;
const MEGABIT_BYTES = 1_000_000 / BITS_PER_BYTE;
/** What a round's rate exceeds the dirty rate by. */
const MARGIN_BYTES_PER_S = 50 * MEGABIT_BYTES;
/** The paper's maximum, where max-bandwidth says nothing. */
const MAX_BYTES_PER_S = 500 * MEGABIT_BYTES;
const FEW_BYTES = 256 * 1024;

/** The rate that the next round needs. */
export function clarkRateBytesPerS(dirtyRatePagesPerS: number, pageBytes: number): number {
  return dirtyRatePagesPerS * pageBytes + MARGIN_BYTES_PER_S;
}

/** The greatest rate that a round may have. */
export function clarkMaxBytesPerS({
  maxBandwidthBytesPerS,
}: Pick<MigrationOptions, 'maxBandwidthBytesPerS'>): number {
  return maxBandwidthBytesPerS > 0 ? maxBandwidthBytesPerS : MAX_BYTES_PER_S;
}

export class ClarkRule implements StopRule {
  readonly #maxBytesPerS: number;

  constructor({ options }: StopRuleContext) {
    this.#maxBytesPerS = clarkMaxBytesPerS(options);
  }

  roundEnded({ dirtyPages, dirtyRatePagesPerS, pageBytes }: StopView): StopVerdict | undefined {
    const bytes = dirtyPages * pageBytes;
    if (bytes < FEW_BYTES) return { reason: 'few-bytes', because: `${Math.round(bytes / 1024)} KiB remain` };
    const needed = clarkRateBytesPerS(dirtyRatePagesPerS, pageBytes);
    if (needed <= this.#maxBytesPerS) return undefined;
    const because = `the next round would need ${megabits(needed)} of ${megabits(this.#maxBytesPerS)}`;
    return { reason: 'rate-above-max', because };
  }
}

function megabits(bytesPerS: number): string {
  return `${Math.round(bytesPerS / MEGABIT_BYTES)} Mbit/s`;
}
