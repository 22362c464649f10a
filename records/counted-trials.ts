/**
 * Which trials count: one rule for every table, figure, mean and test. A trial that failed, or whose guest was not
 * proven right, has figures too, but they are not what the technique does; they are told apart and never averaged.
 */
import type { TrialRecord } from './result-record.ts';

/** Why a trial is no part of any mean; undefined when it counts. */
export function whyNotCounted({ status, reason, audit, clients }: TrialRecord): string | undefined {
  const because = reason === null ? '' : `: ${reason}`;
  if (status === 'lost') return `the guest was lost${because}`;
  if (status !== 'completed') return `${status}${because}`;
  const faultCount = audit?.fault_count ?? 0;
  if (faultCount > 0) {
    const [first] = audit?.faults ?? [];
    const example = first === undefined ? '' : `, such as page ${first.page}: ${first.kind}: ${first.detail}`;
    return `the audit found ${faultCount === 1 ? 'a fault' : `${faultCount} faults`}${example}`;
  }
  const wrong = (clients ?? []).reduce((sum, client) => sum + client.wrong, 0);
  if (wrong > 0) return `${wrong} ${wrong === 1 ? 'answer' : 'answers'} to clients forgot a write`;
  return undefined;
}

/** The trials that count, in their order. */
export function countedTrials(trials: readonly TrialRecord[]): TrialRecord[] {
  return trials.filter((trial) => whyNotCounted(trial) === undefined);
}
