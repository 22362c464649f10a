/**
 * Runs the trials of a resolved spec on a testbed and gathers the result record. Trial by trial each
 * variant has its turn, so that what changes on the machine over time falls on all of them alike.
 */
import type { ClientSide } from '../fabric/fabric.ts';
import { errorText } from '../proto/errors.ts';
import { machineRecord } from '../records/machine.ts';
import type { ResultRecord, TrialRecord } from '../records/result-record.ts';
import { emptyTrial } from '../records/trial-record.ts';
import { toPlain } from '../spec/plain.ts';
import { guestsOf, type ResolvedSpec } from '../spec/resolve.ts';
import { recordedVariant } from '../spec/variants.ts';
import type { ExperimentObserver, TrialLabel } from './observer.ts';
import { runTrial } from './run-trial.ts';
import type { TestbedClient } from './testbed-client.ts';

export interface ExperimentSettings {
  readonly spec: ResolvedSpec;
  readonly client: TestbedClient;
  /** Where clients of the guests run; needed when the spec has clients. */
  readonly clientSide?: ClientSide | undefined;
  readonly godwitVersion: string;
  readonly observer: ExperimentObserver;
  /** Ends the experiment in order: the record holds what was done until then. */
  readonly signal: AbortSignal;
  /**
   * Brings back a host that died in the trial before (a failpoint killed it); left out on a testbed of
   * others.
   */
  readonly restartHosts?: (() => Promise<void>) | undefined;
}

/** Runs all trials. Whatever goes wrong is in the record. */
export async function runExperiment(settings: ExperimentSettings): Promise<ResultRecord> {
  const { spec, signal } = settings;
  const trials: TrialRecord[] = [];
  for (const label of plan(spec)) {
    if (signal.aborted) break;
    trials.push(...(await nextTrial(settings, label, trials.length === 0)));
  }
  return {
    godwit_version: settings.godwitVersion,
    recorded_at: new Date().toISOString(),
    machine: machineRecord(),
    spec: toPlain(spec),
    trials,
  };
}

function plan({ trials, variants }: ResolvedSpec): TrialLabel[] {
  return Array.from({ length: trials }, (_, index) =>
    variants.map((variant) => ({ variant, trial: index + 1, trialCount: trials })),
  ).flat();
}

async function nextTrial(
  { spec, client, clientSide, observer, signal, restartHosts }: ExperimentSettings,
  label: TrialLabel,
  isFirst: boolean,
): Promise<TrialRecord[]> {
  try {
    if (!isFirst) await restartHosts?.();
  } catch (error) {
    const status = signal.aborted ? 'cancelled' : 'failed';
    const reason = errorText(signal.aborted ? signal.reason : error);
    const record = emptyTrial(label.variant.technique, label.trial, status, reason);
    const variant = recordedVariant(label.variant);
    return guestsOf(spec).map(({ name }) => ({ ...record, variant, guest: name }));
  }
  return await runTrial({ spec, label, client, clientSide, observer, signal });
}
