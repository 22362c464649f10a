/** From a spec that keeps the rules to the frozen object that an experiment is run by. */

import { basename, resolve as resolvePath } from 'node:path';
import { DEFAULT_GOAL } from '../proto/convergence.ts';
import {
  type ContentModel,
  type GuestSpec,
  RateUnit,
  type WorkloadPhase,
  type WorkloadSpec,
} from '../proto/generated/godwit/v1/guest.ts';
import {
  FailpointAction,
  type Goal,
  type MigrationOptions,
  OnTimeout,
  PostcopyBubble,
  PostcopyPush,
  PostcopyRecovery,
} from '../proto/generated/godwit/v1/migration.ts';
import { DEFAULT_MIGRATION_OPTIONS } from '../proto/migration-options.ts';
import { AUTO, nameProblem } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { transformsOf } from '../proto/transforms.ts';
import { WORKLOAD_REGISTRY } from '../workloads/registry.ts';
import { answersRequests, type ResolvedClients, resolveClients } from './clients-section.ts';
import { maxBandwidthBytesPerS, resolveConvergence, resolveGoal } from './convergence-section.ts';
import type { MigrationKey } from './migration-keys.ts';
import { plainOptions } from './migration-plain.ts';
import type { ResolvedNetwork } from './network-plan.ts';
import { linksIn, type NetworkSections, saysNothing } from './network-sections.ts';
import type { Plain } from './plain-values.ts';
import type { Path } from './problems.ts';
import { type RatePoint, readRateTrace } from './rate-trace.ts';
import type { FabricKind, PhaseSection, Spec, WorkloadSection } from './schema.ts';
import { readTraceFile } from './trace-file.ts';
import { resolveTransforms, transformsName } from './transforms-section.ts';
import { combinationsOf, listOf, type MigrationVariant, type SingleMigration } from './variants.ts';

/** An experiment, complete: every default filled in, in the contracts' own messages. Deeply frozen. */
export interface ResolvedSpec {
  readonly name: string;
  readonly seed: number;
  readonly trials: number;
  readonly warmUpMs: number;
  /** How long the guest's operations are watched after the move. */
  readonly settleMs: number;
  readonly fabric: { readonly kind: FabricKind; readonly hosts: number };
  readonly guest: Readonly<GuestSpec>;
  /** How many guests there are; with more than one, `guest.name` is the beginning of their names. */
  readonly guestCount: number;
  readonly allAtOnce: boolean;
  /** Whether each migration is predicted before it begins. */
  readonly predict: boolean;
  /** The hosts that the guests leave and move to; empty when the coordinator is to choose. */
  readonly from: string;
  readonly to: string;
  /** Who asks each guest for something; undefined: nobody. */
  readonly clients: ResolvedClients | undefined;
  /** What the links between hosts are. */
  readonly network: ResolvedNetwork;
  /** The whole path of the file behind guest.workload.trace. */
  readonly traceFile: string | undefined;
  /** What is to be run, in this order. */
  readonly variants: readonly MigrationVariant[];
}

export interface Resolution {
  readonly resolved: ResolvedSpec;
  /**
   * What is wrong with trace files, and where they are named; `resolved` is of no use when there is
   * anything.
   */
  readonly traceProblems: readonly { readonly path: Path; readonly message: string }[];
}

/** @param file the spec's own path: its name is the default name, its folder where a trace's path begins. */
export function resolve(spec: Spec, file: string): Resolution {
  const { guest, migration } = spec;
  const { trace: tracePath } = guest.workload;
  const traceFile = tracePath === undefined ? undefined : resolvePath(file, '..', tracePath);
  const trace =
    traceFile === undefined ? undefined : readTraceFile(traceFile, Math.floor(guest.memory / PAGE_BYTES));
  const rates = resolveNetwork(spec, file);
  // A link has two ends, and a crowd leaves one host: then it must be known which.
  const isPlaced = guest.count > 1 || !saysNothing(spec);
  const resolved: ResolvedSpec = {
    name: spec.name ?? nameOf(file),
    seed: spec.seed,
    trials: spec.trials,
    warmUpMs: spec['warm-up'],
    settleMs: spec.settle,
    fabric: spec.fabric,
    guest: guestSpec(spec, trace?.bytes ?? Buffer.alloc(0)),
    guestCount: guest.count,
    allAtOnce: migration['all-at-once'],
    predict: migration.predict,
    from: migration.from ?? (isPlaced ? otherThan(migration.to) : ''),
    to: migration.to ?? (isPlaced ? otherThan(migration.from ?? 'host-1') : ''),
    clients: spec.clients && resolveClients(spec.clients, spec.fabric.kind),
    network: rates.network,
    traceFile,
    variants: variantsOf(migration),
  };
  const traceProblems = (trace?.problems ?? []).map((problem) => ({
    path: ['guest', 'workload', 'trace'],
    message: `${tracePath}: ${problem}`,
  }));
  return { resolved: deepFreeze(resolved), traceProblems: [...traceProblems, ...rates.problems] };
}

/** The first host, or the second when the other end is the first. */
function otherThan(host: string | undefined): string {
  return host === 'host-1' ? 'host-2' : 'host-1';
}

/** The guests of an experiment, each with its own name and seed. */
export function guestsOf({ guest, guestCount, seed }: ResolvedSpec): GuestSpec[] {
  if (guestCount === 1) return [guest];
  return Array.from({ length: guestCount }, (_, index) => ({
    ...guest,
    name: `${guest.name}-${index + 1}`,
    seed: BigInt((seed + index) % Number.MAX_SAFE_INTEGER),
  }));
}

/** The sections about links with the whole paths of their traces, and what is in these. */
function resolveNetwork(
  spec: Spec,
  file: string,
): { network: ResolvedNetwork; problems: Resolution['traceProblems'] } {
  const { link, hosts, pairs, sites, 'site-links': siteLinks, schedule, faults, background } = spec;
  const sections: NetworkSections = structuredClone({
    link,
    hosts,
    pairs,
    sites,
    'site-links': siteLinks,
    schedule,
    faults,
    background,
  });
  const traces: Record<string, readonly RatePoint[]> = {};
  const problems: { path: Path; message: string }[] = [];
  for (const [path, one] of linksIn(sections)) {
    if (one.trace === undefined) continue;
    const written = one.trace;
    one.trace = resolvePath(file, '..', written);
    const read = readRateTrace(one.trace);
    traces[one.trace] = read.points;
    for (const problem of read.problems) {
      problems.push({ path: [...path, 'trace'], message: `${written}: ${problem}` });
    }
  }
  return { network: { ...sections, traces }, problems };
}

/** The same experiment with another seed or number of trials. */
export function withOverrides(
  spec: ResolvedSpec,
  overrides: { seed?: number; trials?: number },
): ResolvedSpec {
  const { seed = spec.seed, trials = spec.trials } = overrides;
  return deepFreeze({ ...spec, seed, trials, guest: { ...spec.guest, seed: BigInt(seed) } });
}

function nameOf(file: string): string {
  const name = basename(file).replace(/\.[^.]*$/, '');
  return nameProblem(name) === undefined ? name : 'experiment';
}

function guestSpec({ seed, guest, clients }: Spec, trace: Buffer): GuestSpec {
  return {
    name: guest.name,
    memoryBytes: BigInt(guest.memory),
    vcpuCount: guest.vcpus,
    deviceStateBytes: BigInt(guest['device-state']),
    seed: BigInt(seed),
    content: contentModel(guest.content),
    workload: workloadSpec(guest.workload, trace, clients !== undefined),
    // Known when it is made: where the forwarder listens, or which addresses are free.
    network: undefined,
  };
}

function contentModel({
  image,
  free,
  'free-churn': churn,
  ...shares
}: Spec['guest']['content']): ContentModel {
  return {
    ...shares,
    ...(image !== undefined && { imageBytes: BigInt(image) }),
    ...(free !== undefined && { free }),
    ...(churn !== undefined && { freeChurnPagesPerS: churn }),
  };
}

function workloadSpec(workload: WorkloadSection, trace: Buffer, hasClients: boolean): WorkloadSpec {
  const { kind } = workload;
  const defaults = WORKLOAD_REGISTRY[kind].defaults;
  // Clients that ask for something are work enough.
  const isForRequests = hasClients && answersRequests(kind) && workload.rate === undefined;
  return {
    kind,
    rate: isForRequests ? 0 : (workload.rate?.perS ?? defaults.rate ?? 0),
    rateUnit: isForRequests ? RateUnit.RATE_UNIT_REQUESTS_ONLY : rateUnit(workload),
    workingSetBytes: bytesOr(workload['working-set'], defaults.workingSetBytes),
    hot: workload.hot ?? defaults.hot ?? 0,
    theta: workload.theta ?? defaults.theta ?? 0,
    read: workload.read ?? defaults.read ?? 0,
    scan: workload.scan ?? defaults.scan ?? 0,
    scanLength: workload['scan-length'] ?? defaults.scanLength ?? 0,
    phases: workload.phases?.map(workloadPhase) ?? [],
    pagesPerRequest: workload['pages-per-request'] ?? defaults.pagesPerRequest ?? 0,
    responseBytes: workload['response-size'] ?? defaults.responseBytes ?? 0,
    trace,
  };
}

/** What the rate counts; the default rate counts what the kind does. */
function rateUnit({ kind, rate }: WorkloadSection): RateUnit {
  if (rate === undefined && WORKLOAD_REGISTRY[kind].defaults.rate === undefined) {
    return RateUnit.RATE_UNIT_UNSPECIFIED;
  }
  const of = rate?.of ?? (answersRequests(kind) ? 'ops' : 'pages');
  return of === 'ops' ? RateUnit.RATE_UNIT_OPERATIONS_PER_S : RateUnit.RATE_UNIT_PAGES_PER_S;
}

function workloadPhase(phase: PhaseSection): WorkloadPhase {
  const { kind, duration } = phase;
  const defaults = WORKLOAD_REGISTRY[kind].defaults;
  return {
    kind,
    durationMs: duration,
    rateFactor: phase['rate-factor'] ?? (kind === 'idle' ? 0 : 1),
    workingSetBytes: bytesOr(phase['working-set'], defaults.workingSetBytes),
    hot: phase.hot ?? defaults.hot ?? 0,
    theta: phase.theta ?? defaults.theta ?? 0,
  };
}

function bytesOr(bytes: number | undefined, otherwise = 0n): bigint {
  return bytes === undefined ? otherwise : BigInt(bytes);
}

function variantsOf(migration: Spec['migration']): MigrationVariant[] {
  const isSaid = (key: 'switch-after-share' | 'switch-after') => listOf(migration[key]).some((at) => at > 0);
  const isSwitchSaid = isSaid('switch-after-share') || isSaid('switch-after');
  const roundsUnsaid = isSwitchSaid ? 0 : DEFAULT_MIGRATION_OPTIONS.switchAfterRounds;
  return combinationsOf(migration).map(({ section, varied }) => {
    const options = migrationOptions(section, roundsUnsaid);
    const plain = plainOptions(options);
    const textOf = (key: MigrationKey): string => {
      const value: Plain = key === 'transforms' ? transformsName(transformsOf(options)) : plain[key];
      return typeof value === 'string' ? value : JSON.stringify(value);
    };
    const name = varied.map((key) => `${key}=${textOf(key)}`).join(' ');
    return { technique: section.technique, name, options };
  });
}

const PUSH_OF = {
  none: PostcopyPush.POSTCOPY_PUSH_NONE,
  sequential: PostcopyPush.POSTCOPY_PUSH_SEQUENTIAL,
  bubbling: PostcopyPush.POSTCOPY_PUSH_BUBBLING,
} as const;

const ON_TIMEOUT_OF = {
  abort: OnTimeout.ON_TIMEOUT_ABORT,
  'stop-and-copy': OnTimeout.ON_TIMEOUT_STOP_AND_COPY,
  'post-copy': OnTimeout.ON_TIMEOUT_POST_COPY,
} as const;

const BUBBLE_OF = {
  dual: PostcopyBubble.POSTCOPY_BUBBLE_DUAL,
  forward: PostcopyBubble.POSTCOPY_BUBBLE_FORWARD,
} as const;

/** @param roundsUnsaid `switch-after-rounds` of a file that does not say it */
function migrationOptions(migration: SingleMigration, roundsUnsaid: number): MigrationOptions {
  return {
    technique: migration.technique,
    channels: migration.channels,
    downtimeLimitMs: migration['downtime-limit'],
    maxBandwidthBytesPerS: maxBandwidthBytesPerS(migration['max-bandwidth']),
    limitFinalRound: migration['limit-final-round'],
    maxRounds: migration['max-rounds'],
    minDirtyPages: BigInt(migration['min-dirty-pages']),
    totalTimeLimitMs: migration['total-time-limit'],
    onTimeout: ON_TIMEOUT_OF[migration['on-timeout']],
    failpoints: migration.failpoints.map((failpoint) => ({
      point: failpoint.at,
      action:
        failpoint.do === 'kill'
          ? FailpointAction.FAILPOINT_ACTION_KILL
          : FailpointAction.FAILPOINT_ACTION_DELAY,
      durationMs: failpoint.for ?? 0,
    })),
    push: PUSH_OF[migration.push],
    pivots: migration.pivots,
    bubble: BUBBLE_OF[migration.bubble],
    accessedFirst: migration['accessed-first'],
    postcopyPreempt: migration['postcopy-preempt'],
    maxPostcopyBandwidthBytesPerS: migration['max-postcopy-bandwidth'],
    recovery:
      migration.recovery === 'manual'
        ? PostcopyRecovery.POSTCOPY_RECOVERY_MANUAL
        : PostcopyRecovery.POSTCOPY_RECOVERY_AUTOMATIC,
    recoveryLimitMs: migration['recovery-limit'],
    switchAfterRounds: migration['switch-after-rounds'] ?? roundsUnsaid,
    switchAfterShare: migration['switch-after-share'],
    switchAfterMs: migration['switch-after'],
    hotSet: migration['hot-set'],
    transforms: resolveTransforms(migration.transforms),
    convergence: resolveConvergence(migration),
    goal: migration.technique === AUTO ? goalOf(migration) : undefined,
  };
}

function goalOf({ goal }: SingleMigration): Goal {
  return goal === undefined ? { ...DEFAULT_GOAL } : resolveGoal(goal);
}

/** Freezes an object and all that it holds, except the bytes of buffers, which cannot be frozen. */
function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
