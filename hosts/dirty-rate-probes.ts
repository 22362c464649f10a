/**
 * The probes of dirty rates on this host: when a guest may be watched, and what ends a probe. A guest's dirty marks
 * have one user at a time. A migration's rounds rest on them: it comes first, and a probe that has them is ended, to
 * its last step, before the migration takes its first.
 */

import { DIRTY_RATE_MODES, dirtyRateProblems } from '../proto/dirty-rate.ts';
import { errorText, RpcError } from '../proto/errors.ts';
import type {
  DirtyRateCost,
  DirtyRateOptions,
  DirtyRateReport,
} from '../proto/generated/godwit/v1/dirty_rate.ts';
import { nowMs } from './clock.ts';
import { measureDirtyRate } from './guest/dirty-rate/measure.ts';
import type { Guest } from './guest/guest.ts';
import type { HeldEntry } from './guest-table.ts';

/** How many probes may run at a time: each is a thread, and 4 bytes for each page and vCPU. */
const PROBES_MAX = 8;
/** What the guest did before is known from samples each 20 ms, so less than that tells little. */
const BEFORE_MS_MIN = 1000;
const MS_PER_S = 1000;

interface RunningProbe {
  readonly takesMarks: boolean;
  readonly ending: AbortController;
  /** Resolves when it is over, however it ended. */
  readonly over: Promise<unknown>;
}

export class DirtyRateProbes {
  readonly #running = new Map<Guest, RunningProbe>();

  /**
   * Watches a guest, until the signal at most.
   *
   * @throws RpcError INVALID_ARGUMENT; FAILED_PRECONDITION or RESOURCE_EXHAUSTED, before anything was begun; ABORTED
   */
  async measure(
    entry: HeldEntry,
    options: DirtyRateOptions | undefined,
    signal: AbortSignal,
  ): Promise<DirtyRateReport> {
    const problems = options === undefined ? ['the request has no options'] : dirtyRateProblems(options);
    if (options === undefined || problems.length > 0) {
      throw new RpcError('INVALID_ARGUMENT', `measuring a dirty rate: ${problems.join('; ')}`);
    }
    const takesMarks = DIRTY_RATE_MODES.nameOf(options.mode) !== 'page-sampling';
    this.#check(entry, takesMarks);
    const { guest } = entry;
    const ending = new AbortController();
    const askedAtMs = nowMs();
    const ends = AbortSignal.any([ending.signal, guest.ending, signal]);
    const measuring = measureDirtyRate(guest.shared, options, ends);
    this.#running.set(guest, { takesMarks, ending, over: measuring.catch(() => {}) });
    try {
      const report = await measuring;
      return {
        ...report,
        cost: report.cost && withBefore(report.cost, guest, askedAtMs, options.calcTimeMs),
      };
    } catch (error) {
      throw new RpcError('ABORTED', errorText(error), { cause: error });
    } finally {
      this.#running.delete(guest);
    }
  }

  /** A migration is to begin, to which the guest is said to belong already. Resolves when no probe has its marks. */
  async yieldTo(migration: string, guest: Guest): Promise<void> {
    const running = this.#running.get(guest);
    if (running === undefined || !running.takesMarks) return;
    running.ending.abort(new Error(`migration "${migration}" began, which needs the guest's dirty marks`));
    await running.over;
  }

  /** Ends all probes: nobody is to wait for them. */
  close(): void {
    for (const { ending } of this.#running.values()) ending.abort(new Error('this host ends'));
  }

  #check({ guest, spec, tenure, migration, pagesAt }: HeldEntry, takesMarks: boolean): void {
    const refuse = (why: string): never => {
      const message = `the dirty rate of guest "${spec.name}" cannot be measured now: ${why}`;
      throw new RpcError('FAILED_PRECONDITION', message);
    };
    if (takesMarks && migration !== undefined) {
      refuse(
        `migration "${migration}" has its dirty marks; use page-sampling, which needs none, or wait for its end`,
      );
    }
    if (tenure !== 'owned' && tenure !== 'unsettled') refuse(`it is ${tenure} on this host`);
    if (guest.control.missingPages > 0) {
      refuse(`${guest.control.missingPages} of its pages are still at ${pagesAt}; wait until they have come`);
    }
    if (!guest.running) refuse('it does not run, and writes nothing; resume it first');
    // Another code: of what is refused by the former the coordinator hopes that a settled handover brings it.
    const busy = (why: string) => new RpcError('RESOURCE_EXHAUSTED', `${why} already; wait for its end`);
    if (this.#running.has(guest)) throw busy(`a probe measures the dirty rate of guest "${spec.name}"`);
    if (this.#running.size >= PROBES_MAX) throw busy(`this host runs ${PROBES_MAX} probes of dirty rates`);
  }
}

/** With what the guest did before it was watched, if it ran. */
function withBefore(
  cost: DirtyRateCost,
  { series }: Guest,
  askedAtMs: number,
  calcTimeMs: number,
): DirtyRateCost {
  const fromMs = askedAtMs - Math.max(calcTimeMs, BEFORE_MS_MIN);
  const { atMs, operations } = series.since(fromMs);
  const last = atMs.findLastIndex((sampledAtMs) => sampledAtMs <= askedAtMs);
  if (last < 1 || (series.runningSinceMs ?? Number.POSITIVE_INFINITY) > fromMs) return cost;
  const elapsedMs = atMs[last]! - atMs[0]!;
  const operationsPerSBefore = ((operations[last]! - operations[0]!) / elapsedMs) * MS_PER_S;
  if (operationsPerSBefore === 0) return cost;
  const lostPercent = (1 - cost.operationsPerS / operationsPerSBefore) * 100;
  return { ...cost, operationsPerSBefore, lostPercent };
}
