/**
 * One trial: guests are made, run warm, move, are watched for a while, audited and destroyed; the links
 * between the hosts are shaped before and freed afterwards. Whatever goes wrong ends in the trial's records,
 * so that an experiment can go on with the next one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientSide } from '../fabric/fabric.ts';
import type { MigrationWindow } from '../proto/client-load.ts';
import { nowMs } from '../proto/clock.ts';
import { errorText } from '../proto/errors.ts';
import { type GuestSpec, type OperationSeries, RateUnit } from '../proto/generated/godwit/v1/guest.ts';
import type { MigrationReport } from '../proto/generated/godwit/v1/migration.ts';
import { clientRecord, failedForClients, isUnserved } from '../records/client-record.ts';
import type { TrialRecord } from '../records/result-record.ts';
import { emptyTrial, migrationWindow, type TrialFacts, trialRecord } from '../records/trial-record.ts';
import { guestsOf, type ResolvedSpec } from '../spec/resolve.ts';
import { recordedVariant } from '../spec/variants.ts';
import { achievedPagesPerS } from './dirty-rate.ts';
import type { ExperimentObserver, TrialLabel } from './observer.ts';
import type { TestbedClient } from './testbed-client.ts';
import { type LoadOutcome, TrialClients } from './trial-clients.ts';
import { TrialNetwork } from './trial-network.ts';

/** How long clients watch a guest that has moved: the gap is looked for until a second after the move. */
const CLIENTS_SETTLE_MS = 1100;

/** A trial and what it needs. */
export interface TrialSettings {
  readonly spec: ResolvedSpec;
  readonly label: TrialLabel;
  readonly client: TestbedClient;
  /** Where clients of the guests run; needed when the spec has clients. */
  readonly clientSide: ClientSide | undefined;
  readonly observer: ExperimentObserver;
  /** Cancels the trial, which then ends in order. */
  readonly signal: AbortSignal;
}

/** A guest's migration, over; or why it has no report. */
type Outcome = { readonly guest: GuestSpec } & (
  | { readonly facts: TrialFacts; readonly window: MigrationWindow }
  | { readonly facts: undefined; readonly error: unknown }
);

/** Runs a trial to its end; one record for each guest. Never rejects: what went wrong is in the records. */
export async function runTrial(settings: TrialSettings): Promise<TrialRecord[]> {
  const { spec, label, client, observer, signal } = settings;
  const guests = guestsOf(spec);
  const made: string[] = [];
  let network: TrialNetwork | undefined;
  let clients: TrialClients | undefined;
  let records: TrialRecord[];
  try {
    if (spec.clients !== undefined && settings.clientSide === undefined)
      throw new Error('the spec has clients, and nobody said where they are to run');
    network = await TrialNetwork.of(spec, client);
    await prepareLinks(settings, network);
    clients = await prepareClients(settings);
    for (const guest of guests) {
      observer.step(label, `creating ${guests.length === 1 ? 'the guest' : guest.name}`);
      await client.createGuest({ ...guest, network: clients?.networkOf(guest.name) }, spec.from);
      made.push(guest.name);
    }
    observer.step(label, 'warming up');
    await clients?.startLoads(signal);
    await network?.startBackground(signal);
    await sleep(spec.warmUpMs, undefined, { signal });
    records = await measure(settings, guests, { network, clients });
  } catch (error) {
    records = guests.map((guest) => brokenOff(settings, guest.name, error));
  }
  await clients?.endLoads();
  for (const guest of made) {
    observer.step(label, `destroying ${guests.length === 1 ? 'the guest' : guest}`);
    // A guest that cannot be destroyed is told by the next trial, which cannot make its own.
    await client.destroyGuest(guest).catch(() => {});
  }
  await clients?.close();
  await network?.clear();
  const variant = recordedVariant(label.variant);
  records = records.map((record) => ({ ...record, variant, network: network?.record ?? null }));
  for (const record of records) observer.ended(labelOf(settings, record.guest), record);
  return records;
}

/** On links that carry nothing else, before there are guests to take the processor. */
async function prepareLinks(settings: TrialSettings, network: TrialNetwork | undefined): Promise<void> {
  if (network === undefined) return;
  const { spec, label, observer, signal } = settings;
  observer.step(label, 'shaping the links');
  await network.shape();
  signal.throwIfAborted();
  observer.step(label, `probing the link from ${spec.from} to ${spec.to}`);
  await network.probe(spec.from, spec.to);
}

/** The way in for clients, if the spec has any. */
async function prepareClients(settings: TrialSettings): Promise<TrialClients | undefined> {
  const { spec, client, clientSide, signal } = settings;
  if (spec.clients === undefined || clientSide === undefined) return undefined;
  const hosts = (await client.hosts()).map(({ address }) => address.slice(0, address.lastIndexOf(':')));
  return await TrialClients.prepare(spec, clientSide, [...hosts, clientSide.address], signal);
}

/** What stands around the guests of a trial. */
interface Surroundings {
  readonly network: TrialNetwork | undefined;
  readonly clients: TrialClients | undefined;
}

/** Moves the warm guests and finds out what came of it. */
async function measure(
  settings: TrialSettings,
  guests: readonly GuestSpec[],
  { network, clients }: Surroundings,
): Promise<TrialRecord[]> {
  const { spec, label, observer, signal } = settings;
  observer.step(label, 'migrating');
  network?.start();
  const outcomes: Outcome[] = [];
  if (spec.allAtOnce) {
    outcomes.push(...(await Promise.all(guests.map((guest) => move(settings, guest)))));
  } else {
    for (const guest of guests) outcomes.push(await move(settings, guest));
  }
  const problem = await network?.end();
  const wasCancelled = signal.aborted;
  if (!wasCancelled) {
    observer.step(label, 'watching what moved');
    // That it was cancelled meanwhile is told by the signal, below.
    const watchMs = clients === undefined ? spec.settleMs : Math.max(spec.settleMs, CLIENTS_SETTLE_MS);
    await sleep(watchMs, undefined, { signal }).catch(() => {});
  }
  const disturbed = await network?.endBackground();
  // Whoever cancels does not wait for what clients still wait for.
  const seen = wasCancelled ? undefined : clients && (await clientsSaw(clients, outcomes));
  const records: TrialRecord[] = [];
  for (const outcome of outcomes) {
    const proof = await proven(settings, outcome, wasCancelled);
    const about = outcome.facts && network?.fieldsOf(outcome.facts.report.sourceReport, outcome.window);
    const record = { ...proof, ...about };
    records.push(seen === undefined ? record : await withClients(settings.client, record, outcome, seen));
  }
  const wrong = problem ?? disturbed;
  if (wrong === undefined) return records;
  // What was measured stays, but it is not what was asked for.
  return records.map((record) => ({ ...record, status: 'failed', reason: `the links: ${wrong}` }));
}

/** Ends the load, and answers what it saw; or why it cannot say. */
async function clientsSaw(
  clients: TrialClients,
  outcomes: readonly Outcome[],
): Promise<LoadOutcome[] | string> {
  const windows = outcomes.flatMap((outcome) =>
    outcome.facts === undefined ? [] : [[outcome.guest.name, outcome.window] as const],
  );
  try {
    return await clients.finish(new Map(windows));
  } catch (error) {
    return errorText(error);
  }
}

async function withClients(
  client: TestbedClient,
  record: TrialRecord,
  outcome: Outcome,
  seen: LoadOutcome[] | string,
): Promise<TrialRecord> {
  if (typeof seen === 'string') return failedForClients(record, seen);
  const acceptedAtMs = outcome.facts === undefined ? undefined : outcome.window.fromMs;
  const own = seen.filter(({ guest }) => guest === outcome.guest.name);
  const clients = own.map((one) => clientRecord({ ...one, acceptedAtMs, downtimeMs: record.downtime_ms }));
  const unserved = clients.filter(isUnserved).map(({ protocol }) => protocol);
  if (unserved.length === 0) return { ...record, clients };
  const asked = `none of their requests after the migration was answered (${unserved.join(', ')})`;
  const known = await nicProblem(client, outcome.guest.name);
  return failedForClients({ ...record, clients }, known === '' ? asked : `${asked}: ${known}`);
}

/** What the guest's host knows of why clients do not reach it; empty when that is nothing, or cannot be asked. */
async function nicProblem(client: TestbedClient, guest: string): Promise<string> {
  const guests = await client.guests().catch(() => []);
  return guests.find(({ spec }) => spec?.name === guest)?.nicProblem ?? '';
}

async function move(settings: TrialSettings, guest: GuestSpec): Promise<Outcome> {
  const { spec, label, client, observer, signal } = settings;
  try {
    const warm = (await client.guestStats(guest.name, 0)).series;
    const orderedAtMs = nowMs();
    const report = await client.migrate({
      guest: guest.name,
      destination: spec.to,
      options: label.variant.options,
      predict: spec.predict,
      progress: (progress) => observer.progress(labelOf(settings, guest.name), progress),
      signal,
    });
    const ordered = { fromMs: orderedAtMs, toMs: nowMs() };
    return { guest, facts: factsOf(settings, report, warm), window: windowOf(report, ordered) };
  } catch (error) {
    return { guest, facts: undefined, error };
  }
}

/**
 * When a migration was, by the clock of this machine and its clients: the hosts' own word for it where they
 * have the same clock, else from its order to its report.
 */
function windowOf(report: MigrationReport, ordered: MigrationWindow): MigrationWindow {
  const window = migrationWindow(report);
  const isSameClock = window !== undefined && window.fromMs >= ordered.fromMs && window.toMs <= ordered.toMs;
  return isSameClock ? window : ordered;
}

function factsOf(
  { spec, label }: TrialSettings,
  report: MigrationReport,
  warm: OperationSeries | undefined,
): TrialFacts {
  return {
    trial: label.trial,
    report,
    requestedPagesPerS: requestedPagesPerS(spec),
    achievedPagesPerS: warm === undefined ? null : achievedPagesPerS(warm),
    destinationSeries: { atMs: [], operations: [], pageWrites: [] },
    audit: null,
  };
}

/**
 * The record of a guest's migration, with how it runs where it is now, and whether all its pages are right.
 */
async function proven(
  settings: TrialSettings,
  outcome: Outcome,
  wasCancelled: boolean,
): Promise<TrialRecord> {
  const { facts, guest } = outcome;
  if (facts === undefined) return brokenOff(settings, guest.name, outcome.error);
  const { label, client, observer, signal } = settings;
  const { owner, destination } = facts.report;
  if (wasCancelled || owner === '') return trialRecord(facts);
  try {
    signal.throwIfAborted();
    const series = owner === destination ? (await client.guestStats(guest.name, 0)).series : undefined;
    observer.step(label, 'auditing every page');
    const audit = await client.auditGuest(guest.name);
    return trialRecord({ ...facts, audit, ...(series !== undefined && { destinationSeries: series }) });
  } catch (error) {
    // What was measured stays, but it is not proven.
    const { status, reason } = brokenOff(settings, guest.name, error);
    return { ...trialRecord(facts), status, reason };
  }
}

/** A trial that ended before its migration did. */
function brokenOff({ label, signal }: TrialSettings, guest: string, error: unknown): TrialRecord {
  const { variant, trial } = label;
  const record = signal.aborted
    ? emptyTrial(variant.technique, trial, 'cancelled', errorText(signal.reason))
    : emptyTrial(variant.technique, trial, 'failed', errorText(error));
  return { ...record, guest };
}

/** With several guests it says of which one it is. */
function labelOf({ spec, label }: TrialSettings, guest: string | null): TrialLabel {
  return spec.guestCount === 1 || guest === null ? label : { ...label, guest };
}

/**
 * What the spec asks for; null when it asks for no rate, or for operations, each of which writes what it
 * likes.
 */
function requestedPagesPerS({ guest: { workload } }: ResolvedSpec): number | null {
  if (workload === undefined || workload.rate === 0) return null;
  return workload.rateUnit === RateUnit.RATE_UNIT_PAGES_PER_S ? workload.rate : null;
}
