/** What a probe of a guest's dirty rate may be asked for: names, defaults, limits, and what is wrong with some. */

import { type RuleNames, ruleNames } from './convergence.ts';
import { DEADLINES_MS } from './deadlines.ts';
import { DirtyRateMode, type DirtyRateOptions } from './generated/godwit/v1/dirty_rate.ts';

const MODE_OF = {
  'page-sampling': DirtyRateMode.DIRTY_RATE_MODE_PAGE_SAMPLING,
  'dirty-bitmap': DirtyRateMode.DIRTY_RATE_MODE_DIRTY_BITMAP,
  'dirty-ring': DirtyRateMode.DIRTY_RATE_MODE_DIRTY_RING,
  'working-set': DirtyRateMode.DIRTY_RATE_MODE_WORKING_SET,
} as const;
export type DirtyRateModeName = keyof typeof MODE_OF;

export const DIRTY_RATE_MODES: RuleNames<DirtyRateModeName, DirtyRateMode> = ruleNames(MODE_OF);

export const DIRTY_RATE_LIMITS = {
  /** QEMU's is whole seconds from 1 to 60; guests here move within milliseconds. */
  calcTimeMsMin: 10,
  calcTimeMsMax: 60_000,
  /** For each GiB of memory; QEMU's MIN_SAMPLE_PAGE_COUNT and MAX_SAMPLE_PAGE_COUNT. */
  samplePagesMin: 128,
  samplePagesMax: 16_384,
} as const;

/** QEMU's mode and number of pages; its calc-time has no default. */
export const DEFAULT_DIRTY_RATE = {
  mode: 'page-sampling',
  calcTimeMs: 1000,
  samplePages: 512,
} as const;

/** How long a probe of so many milliseconds may take on its host. */
export function dirtyRateDeadlineMs(calcTimeMs: number): number {
  return calcTimeMs + DEADLINES_MS.dirtyRate;
}

/** Everything that is wrong with what a probe is to do, as sentences. */
export function dirtyRateProblems({ mode, calcTimeMs, samplePages }: Readonly<DirtyRateOptions>): string[] {
  const { calcTimeMsMin, calcTimeMsMax, samplePagesMin, samplePagesMax } = DIRTY_RATE_LIMITS;
  const problems: string[] = [];
  const name = DIRTY_RATE_MODES.nameOf(mode);
  if (name === undefined) {
    problems.push(`mode is ${mode}; allowed is ${DIRTY_RATE_MODES.names.join(', ')}`);
  }
  if (!(calcTimeMs >= calcTimeMsMin && calcTimeMs <= calcTimeMsMax)) {
    problems.push(`calc time is ${calcTimeMs} ms; allowed is ${calcTimeMsMin} to ${calcTimeMsMax} ms`);
  }
  if (samplePages === 0) return problems;
  if (name !== 'page-sampling') {
    problems.push(`sample pages are ${samplePages}; only page-sampling has them, leave them out`);
  } else if (!(samplePages >= samplePagesMin && samplePages <= samplePagesMax)) {
    const range = `${samplePagesMin} to ${samplePagesMax}`;
    problems.push(`sample pages are ${samplePages}; allowed is ${range} for each GiB`);
  }
  return problems;
}
