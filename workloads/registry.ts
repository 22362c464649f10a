/**
 * The workloads that there are. A new one is a file, a line here and a name in proto/names.ts; the compiler
 * insists on all three.
 */

import type { WorkloadSpec } from '../proto/generated/godwit/v1/guest.ts';
import { WORKLOADS, type WorkloadKind } from '../proto/names.ts';
import { createHotCold } from './hot-cold.ts';
import { createIdle } from './idle.ts';
import { createKv } from './kv.ts';
import { createPhased } from './phased.ts';
import {
  constantSchedule,
  idleSchedule,
  phasedSchedule,
  type Schedule,
  type ScheduleFactory,
  traceSchedule,
} from './schedule.ts';
import { createSequential } from './sequential.ts';
import { createTrace } from './trace.ts';
import { createUniform } from './uniform.ts';
import { createWeb } from './web.ts';
import type { Workload, WorkloadContext, WorkloadFactory, WorkloadField } from './workload.ts';
import { fieldProblems } from './workload-problems.ts';
import { createZipf } from './zipf.ts';

/** Every field that a kind uses, with its default. */
export type WorkloadDefaults = Readonly<Partial<Pick<WorkloadSpec, WorkloadField>>>;

export interface WorkloadEntry {
  /** For help texts: what it does, without a full stop. */
  readonly summary: string;
  readonly defaults: WorkloadDefaults;
  readonly createWorkload: WorkloadFactory;
  readonly createSchedule: ScheduleFactory;
}

const PACED = { rate: 1000, workingSetBytes: 0n } as const;
/** YCSB's default for its zipfian generator. */
const THETA = 0.99;

export const WORKLOAD_REGISTRY: Readonly<Record<WorkloadKind, WorkloadEntry>> = {
  idle: {
    summary: 'does nothing',
    defaults: {},
    createWorkload: createIdle,
    createSchedule: idleSchedule,
  },
  uniform: {
    summary: 'writes random pages of the working set',
    defaults: PACED,
    createWorkload: createUniform,
    createSchedule: constantSchedule,
  },
  sequential: {
    summary: 'sweeps over the working set, page after page',
    defaults: PACED,
    createWorkload: createSequential,
    createSchedule: constantSchedule,
  },
  'hot-cold': {
    summary: 'writes the working set with the share `hot`, the rest of memory otherwise',
    defaults: { ...PACED, hot: 0.9 },
    createWorkload: createHotCold,
    createSchedule: constantSchedule,
  },
  zipf: {
    summary: 'writes pages of the working set with zipfian popularity',
    defaults: { ...PACED, theta: THETA },
    createWorkload: createZipf,
    createSchedule: constantSchedule,
  },
  phased: {
    summary: 'changes its behaviour over time, as a kernel build does',
    defaults: { rate: PACED.rate, phases: [] },
    createWorkload: createPhased,
    createSchedule: phasedSchedule,
  },
  kv: {
    summary: 'a key-value store under the load of YCSB: reads, updates and scans',
    defaults: { ...PACED, theta: THETA, read: 0.5, scan: 0, scanLength: 100 },
    createWorkload: createKv,
    createSchedule: constantSchedule,
  },
  trace: {
    summary: 'replays recorded page writes at their times',
    defaults: { trace: Buffer.alloc(0) },
    createWorkload: createTrace,
    createSchedule: traceSchedule,
  },
  web: {
    summary: 'a web server: a request reads pages, writes the log and perhaps a session',
    defaults: { ...PACED, theta: THETA, read: 0.9, pagesPerRequest: 8, responseBytes: 1024 },
    createWorkload: createWeb,
    createSchedule: constantSchedule,
  },
};

/** Which fields of a WorkloadSpec each kind uses; the others are zero. */
export const WORKLOAD_FIELDS = Object.fromEntries(
  WORKLOADS.map((kind) => [kind, Object.keys(WORKLOAD_REGISTRY[kind].defaults) as WorkloadField[]]),
) as Record<string, readonly WorkloadField[]> as Readonly<Record<WorkloadKind, readonly WorkloadField[]>>;

/** Whether a spec's kind is one of the registry's. */
export function isWorkloadKind(kind: string): kind is WorkloadKind {
  return Object.hasOwn(WORKLOAD_REGISTRY, kind);
}

/**
 * Everything that is wrong with a workload for a guest of this many pages, as sentences with what was found
 * and what is allowed; empty when it can run. Only the fields that the kind uses are looked at.
 */
export function workloadProblems(spec: WorkloadSpec, pageCount: number): string[] {
  if (!isWorkloadKind(spec.kind)) {
    return [`workload kind is "${spec.kind}"; allowed is ${WORKLOADS.join(', ')}`];
  }
  return WORKLOAD_FIELDS[spec.kind].flatMap((field) => fieldProblems(field, spec, pageCount));
}

/**
 * What one vCPU does. The spec is one without problems (workloadProblems). Throws when its kind is unknown.
 */
export function createWorkload(context: WorkloadContext): Workload {
  return entry(context).createWorkload(context);
}

/** When it is due. The spec is one without problems (workloadProblems). Throws when its kind is unknown. */
export function createSchedule(context: WorkloadContext): Schedule {
  return entry(context).createSchedule(context);
}

function entry(context: WorkloadContext): WorkloadEntry {
  const { kind } = context.spec;
  if (isWorkloadKind(kind)) return WORKLOAD_REGISTRY[kind];
  throw new Error(`making a workload: found the kind "${kind}"; allowed is ${WORKLOADS.join(', ')}`);
}
