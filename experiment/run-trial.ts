/**
 * One trial: a guest is made, runs warm, moves, is watched for a while, audited and destroyed. Whatever goes
 * wrong ends in the trial's record, so that an experiment can go on with the next one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../proto/errors.ts';
import { RateUnit } from '../proto/generated/godwit/v1/guest.ts';
import type { MigrationReport } from '../proto/generated/godwit/v1/migration.ts';
import type { TrialRecord } from '../records/result-record.ts';
import { emptyTrial, type TrialFacts, trialRecord } from '../records/trial-record.ts';
import type { ResolvedSpec } from '../spec/resolve.ts';
import { achievedPagesPerS } from './dirty-rate.ts';
import type { ExperimentObserver, TrialLabel } from './observer.ts';
import type { TestbedClient } from './testbed-client.ts';

/** A trial and what it needs. */
export interface TrialSettings {
  readonly spec: ResolvedSpec;
  readonly label: TrialLabel;
  readonly client: TestbedClient;
  readonly observer: ExperimentObserver;
  /** Cancels the trial, which then ends in order. */
  readonly signal: AbortSignal;
}

/** Runs a trial to its end. Never rejects: what went wrong is in the record. */
export async function runTrial(settings: TrialSettings): Promise<TrialRecord> {
  const { spec, label, client, observer, signal } = settings;
  const guest = spec.guest.name;
  let made = false;
  let record: TrialRecord;
  try {
    observer.step(label, 'creating the guest');
    await client.createGuest(spec.guest, '');
    made = true;
    observer.step(label, 'warming up');
    await sleep(spec.warmUpMs, undefined, { signal });
    record = await measure(settings);
  } catch (error) {
    const { technique, trial } = label;
    record = signal.aborted
      ? emptyTrial(technique, trial, 'cancelled', errorText(signal.reason))
      : emptyTrial(technique, trial, 'failed', errorText(error));
  }
  if (made) {
    observer.step(label, 'destroying the guest');
    // A guest that cannot be destroyed is told by the next trial, which cannot make its own.
    await client.destroyGuest(guest).catch(() => {});
  }
  observer.ended(label, record);
  return record;
}

/** Moves the warm guest and finds out what came of it. */
async function measure(settings: TrialSettings): Promise<TrialRecord> {
  const { spec, label, client, observer, signal } = settings;
  const guest = spec.guest.name;
  const warm = (await client.guestStats(guest, 0)).series;
  observer.step(label, 'migrating');
  const report = await client.migrate({
    guest,
    destination: '',
    options: spec.migration[label.technique],
    progress: (progress) => observer.progress(label, progress),
    signal,
  });
  const facts: TrialFacts = {
    trial: label.trial,
    report,
    requestedPagesPerS: requestedPagesPerS(spec),
    achievedPagesPerS: warm === undefined ? null : achievedPagesPerS(warm),
    destinationSeries: { atMs: [], operations: [], pageWrites: [] },
    audit: null,
  };
  if (signal.aborted) return trialRecord(facts);
  try {
    return trialRecord({ ...facts, ...(await watchAndAudit(settings, report)) });
  } catch (error) {
    // What was measured stays, but it is not proven.
    const status = signal.aborted ? 'cancelled' : 'failed';
    return { ...trialRecord(facts), status, reason: errorText(signal.aborted ? signal.reason : error) };
  }
}

/**
 * What is found out after the migration: how the guest runs where it is now, and whether all its pages are
 * right.
 */
async function watchAndAudit(
  { spec, label, client, observer, signal }: TrialSettings,
  { owner, destination }: MigrationReport,
): Promise<Partial<TrialFacts>> {
  if (owner === '') return {};
  const guest = spec.guest.name;
  observer.step(label, 'watching the guest after the move');
  await sleep(spec.settleMs, undefined, { signal });
  const series = owner === destination ? (await client.guestStats(guest, 0)).series : undefined;
  observer.step(label, 'auditing every page');
  const audit = await client.auditGuest(guest);
  return { audit, ...(series !== undefined && { destinationSeries: series }) };
}

/**
 * What the spec asks for; null when it asks for no rate, or for operations, each of which writes what it
 * likes.
 */
function requestedPagesPerS({ guest: { workload } }: ResolvedSpec): number | null {
  if (workload === undefined || workload.rate === 0) return null;
  return workload.rateUnit === RateUnit.RATE_UNIT_PAGES_PER_S ? workload.rate : null;
}
