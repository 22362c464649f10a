/** Measures a guest's dirty rate on a thread of its own, which the caller's signal or the deadline ends. */

import { DEFAULT_DIRTY_RATE, DIRTY_RATE_MODES, dirtyRateDeadlineMs } from '../../../proto/dirty-rate.ts';
import type { DirtyRateOptions, DirtyRateReport } from '../../../proto/generated/godwit/v1/dirty_rate.ts';
import { runWorker } from '../page-workers.ts';
import type { SharedGuest } from '../shared-guest.ts';
import type { ProbeResult } from './probe.ts';
import type { ProbeWork } from './probe-thread.ts';

const THREAD_FILE = new URL('./probe-thread.ts', import.meta.url);

/**
 * Watches a guest that runs and has all its pages. Unless the mode is page-sampling nobody else may count its marks
 * meanwhile; when this rejects, the probe touches them no more. What the guest did before is not known here: the cost
 * says nothing of that.
 *
 * @param options without problems (dirtyRateProblems)
 * @param signal ends the probe; its reason is an Error that says why
 * @throws when it was ended, was late, or a vCPU does not pass its safepoints
 */
export async function measureDirtyRate(
  shared: SharedGuest,
  options: DirtyRateOptions,
  signal: AbortSignal,
): Promise<DirtyRateReport> {
  const { mode, calcTimeMs, samplePages } = options;
  const name = DIRTY_RATE_MODES.nameOf(mode);
  if (name === undefined) throw new Error(`measuring a dirty rate: nobody knows the mode ${mode}`);
  const settings = { mode: name, calcTimeMs, samplePages: samplePages || DEFAULT_DIRTY_RATE.samplePages };
  const work: ProbeWork = { shared, settings };
  const what = `measuring the dirty rate of guest ${shared.spec.name}`;
  const deadlineMs = dirtyRateDeadlineMs(calcTimeMs);
  return { mode, ...(await runWorker<ProbeResult>(THREAD_FILE, work, what, signal, deadlineMs)) };
}
