/**
 * How far off predictions are, and how good choices: over seeded mixes of workload, memory, link and technique each
 * technique moves the guest for real, between two process hosts over the relay, and so does what `auto` chooses. Every
 * move is predicted right before it. GODWIT_MIXES=12 runs fewer of the mixes.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { TestbedClient } from '../experiment/testbed-client.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { startProcessFabric } from '../fabric/process-fabric.ts';
import { firstCalibration } from '../predict/calibration.ts';
import { MODELS } from '../predict/models.ts';
import { predictTechnique } from '../predict/predictor.ts';
import { probedFrom } from '../predict/probed.ts';
import { DirtyRateReport } from '../proto/generated/godwit/v1/dirty_rate.ts';
import type { GuestSpec, OperationSeries } from '../proto/generated/godwit/v1/guest.ts';
import { MigrationPhase, type MigrationReport } from '../proto/generated/godwit/v1/migration.ts';
import { AUTO, type TechniqueAsked } from '../proto/names.ts';
import { UNSHAPED_LINK } from '../proto/network-shape.ts';
import type { PredictionRecord } from '../records/prediction-record.ts';
import { trialRecord } from '../records/trial-record.ts';
import { parseSpec } from '../spec/parse-spec.ts';
import { guestsOf } from '../spec/resolve.ts';
import { type Mix, predictionMixes } from './prediction-mixes.ts';
import { type About, type Row, row, rowAtMost } from './row.ts';

const MIXES = 60;
const BYTES_PER_S_PER_MBIT = 125_000;
const MEMORY_BYTES_PER_HOST = 512 * 1024 ** 2;
const LEASE_MS = 10_000;
const WARM_UP_MS = 400;
/** Until hosts have threads ready again, as before the first move: their start takes both cores for a while. */
const BETWEEN_MS = 2200;
const P90 = 0.9;
const TOTAL_PERCENT_MAX = 12;
const DOWNTIME_PERCENT_MAX = 25;
const DOWNTIME_MS_MAX = 5;
const GOAL_SHARE_MIN = 0.9;

/** One real move with its prediction. */
interface Scored {
  readonly mix: Mix;
  readonly asked: TechniqueAsked;
  readonly report: MigrationReport;
  readonly prediction: PredictionRecord;
  readonly totalMs: number;
  readonly downtimeMs: number;
  readonly guest: GuestSpec;
}

export async function predict(): Promise<Row[]> {
  const mixes = predictionMixes(Number(process.env.GODWIT_MIXES ?? MIXES));
  const fabric = await startProcessFabric({
    hostCount: 2,
    memoryBytesPerHost: MEMORY_BYTES_PER_HOST,
    stateFile: ':memory:',
    leaseMs: LEASE_MS,
  });
  const client = new TestbedClient(fabric.coordinatorAddress);
  try {
    const moves: Scored[] = [];
    for (const mix of mixes) moves.push(...(await movesOf(fabric, client, mix)));
    return rowsOf(moves, mixes.length);
  } finally {
    client.close();
    await fabric.close();
  }
}

/** The moves of one mix, with each technique and with the one that is chosen. */
async function movesOf(fabric: Fabric, client: TestbedClient, mix: Mix): Promise<Scored[]> {
  const hosts = fabric.hosts().map(({ name }) => name);
  const limited = { ...UNSHAPED_LINK, rateBytesPerS: mix.mbit * BYTES_PER_S_PER_MBIT };
  const egress = { ...limited, delayMs: mix.delayMs };
  for (const host of hosts) await client.setNetwork(host, { egress, ingress: limited, peers: [] }, false);
  const spec = parseSpec(mix.yaml, 'mix.yaml');
  const guest = guestsOf(spec)[0]!;
  let at = await client.createGuest(guest, hosts[0]!);
  try {
    await sleep(WARM_UP_MS);
    const moves: Scored[] = [];
    for (const { technique, options } of spec.variants) {
      const destination = hosts.find((host) => host !== at)!;
      const report = await client.migrate({
        guest: guest.name,
        destination,
        options,
        predict: true,
        progress: () => {},
      });
      if (report.phase !== MigrationPhase.MIGRATION_PHASE_COMPLETED) {
        throw new Error(`${mix.name}, ${technique}: ${report.reason}`);
      }
      at = report.owner;
      moves.push(scored(mix, technique, report, guest));
      await sleep(BETWEEN_MS);
    }
    const audit = await client.auditGuest(guest.name);
    if (audit.faultCount > 0n) throw new Error(`${mix.name}: ${audit.faultCount} pages are wrong`);
    return moves;
  } finally {
    await client.destroyGuest(guest.name);
  }
}

function scored(mix: Mix, asked: TechniqueAsked, report: MigrationReport, guest: GuestSpec): Scored {
  const none: OperationSeries = { atMs: [], operations: [], pageWrites: [] };
  const facts = { trial: 1, report, destinationSeries: none, audit: null };
  const record = trialRecord({ ...facts, requestedPagesPerS: null, achievedPagesPerS: null });
  const { prediction, total_time_ms: totalMs, downtime_ms: downtimeMs } = record;
  if (prediction === null) throw new Error(`${mix.name}, ${asked}: it was not predicted`);
  if (totalMs === null || downtimeMs === null) throw new Error(`${mix.name}, ${asked}: a time is missing`);
  const pair = ({ predicted, low, high, measured }: PredictionRecord['total_time_ms']): string =>
    `${predicted.toFixed(0)} [${low.toFixed(0)}-${high.toFixed(0)}] ${measured?.toFixed(0)}`;
  const { total_time_ms: total, downtime_ms: downtime, reason, link_changed: changed } = prediction;
  const who = asked === AUTO ? `auto: ${prediction.technique} ${prediction.parameters}` : asked;
  console.log(
    `  ${mix.name}, ${who}: total ${pair(total)}, downtime ${pair(downtime)} ${reason ?? ''} ${changed ?? ''}`,
  );
  return { mix, asked, report, prediction, totalMs, downtimeMs, guest };
}

function rowsOf(moves: readonly Scored[], mixCount: number): Row[] {
  const own = moves.filter(({ mix, asked }) => asked === mix.technique);
  const about = (measure: string, unit = '%', work = `predictions of ${mixCount} mixes`): About => {
    return { work, measure, unit };
  };
  const totalError = ({ prediction }: Scored): number =>
    Math.abs(prediction.total_time_ms.error_percent ?? 0);
  const bytesError = ({ prediction }: Scored): number =>
    Math.abs(prediction.transferred_bytes.error_percent ?? 0);
  const byTechnique = Map.groupBy(moves, ({ asked }) => asked);
  const rounds = moves.filter(({ asked }) => asked === 'pre-copy' || asked === 'hybrid');
  return [
    rowAtMost(about('total time off, 90th percentile'), [p90(own.map(totalError))], TOTAL_PERCENT_MAX),
    watch(about('total time off'), own.map(totalError)),
    row(
      about(`downtimes within ${DOWNTIME_PERCENT_MAX} % or ${DOWNTIME_MS_MAX} ms`, 'share'),
      { name: 'godwit', samples: [shareOf(own, isDowntimeNear)] },
      { target: { at_least: P90 } },
    ),
    watch(about('bytes off, 90th percentile'), [p90(own.map(bytesError))]),
    watch(about('measured within the bands', 'share'), [shareOf(own, isWithinBand)]),
    ...[...byTechnique].flatMap(([technique, all]) => [
      watch(about('total time off, 90th percentile', '%', `${technique}, all mixes`), [
        p90(all.map(totalError)),
      ]),
      watch(about('downtimes near', 'share', `${technique}, all mixes`), [shareOf(all, isDowntimeNear)]),
    ]),
    ...Object.keys(MODELS).map((model) =>
      watch(about('total time off, 90th percentile', '%', `pre-copy and hybrid, model: ${model}`), [
        p90(rounds.map((move) => modelError(move, model as keyof typeof MODELS))),
      ]),
    ),
    ...choiceRows(moves, mixCount),
  ];
}

/** Of the mixes in which any technique that is allowed met the goal, those in which the chosen one did. */
function choiceRows(moves: readonly Scored[], mixCount: number): Row[] {
  const byMix = [...Map.groupBy(moves, ({ mix }) => mix).values()];
  const possible = byMix.filter((all) => all.some((move) => isAllowed(move) && meetsGoal(move)));
  const met = possible.filter((all) => all.some((move) => move.asked === AUTO && meetsGoal(move)));
  const work = `auto over ${mixCount} mixes, ${possible.length} of which some technique meets`;
  const about = { work, measure: 'choices that meet the goal', unit: 'share' };
  if (possible.length === 0)
    return [row(about, { name: 'godwit', problem: 'no technique met a goal', failed: false })];
  const samples = [met.length / possible.length];
  return [row(about, { name: 'godwit', samples }, { target: { at_least: GOAL_SHARE_MIN } })];
}

function isAllowed({ asked, mix }: Scored): boolean {
  return mix.goal.mayLose || asked === AUTO || asked === 'pre-copy' || asked === 'stop-and-copy';
}

function meetsGoal({ mix: { goal }, totalMs, downtimeMs }: Scored): boolean {
  return downtimeMs <= goal.maxDowntimeMs && (goal.maxTotalMs === 0 || totalMs <= goal.maxTotalMs);
}

function isDowntimeNear({ prediction: { downtime_ms }, downtimeMs }: Scored): boolean {
  const off = Math.abs(downtime_ms.predicted - downtimeMs);
  return off <= DOWNTIME_MS_MAX || off <= (downtimeMs * DOWNTIME_PERCENT_MAX) / 100;
}

function isWithinBand({ prediction }: Scored): boolean {
  return prediction.within_band === true;
}

/** The same replay over another model of what the guest writes; nothing is learned, so that all have the same. */
function modelError({ report, guest, totalMs }: Scored, model: keyof typeof MODELS): number {
  const basis = report.prediction!.basis!;
  const windows = basis.written.map(({ ms, pages }) => ({ ms, dirtyPages: pages }));
  const content = { pages: 10_000, zeroPages: Math.round(basis.zeroShare * 10_000) };
  const { probed } = probedFrom({
    spec: guest,
    dirtyRate: DirtyRateReport.fromPartial({
      workingSet: { windows, accessedPages: basis.accessedPages, content },
    }),
    link: { bytesPerS: basis.bandwidthBytesPerS, errorShare: 0, roundTripMs: basis.roundTripMs },
    probeMs: basis.probeMs,
  });
  const written = MODELS[model](windows, probed.pageCount);
  const { totalTimeMs } = predictTechnique({ ...probed, written }, report.options!, firstCalibration());
  return Math.abs((totalTimeMs?.value ?? 0) / totalMs - 1) * 100;
}

function watch(about: About, samples: readonly number[]): Row {
  return row(about, { name: 'godwit', samples });
}

function p90(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * P90) - 1)] ?? Number.NaN;
}

function shareOf(moves: readonly Scored[], is: (move: Scored) => boolean): number {
  return moves.filter(is).length / moves.length;
}
