/**
 * Which keys of a spec's workload belong to which field of the contract, and so which kind of workload uses
 * them.
 */

import type { WorkloadSpec } from '../proto/generated/godwit/v1/guest.ts';
import type { WorkloadKind } from '../proto/names.ts';
import { WORKLOAD_FIELDS } from '../workloads/registry.ts';
import type { PhaseSection, WorkloadSection } from './schema.ts';

type WorkloadKey = Exclude<keyof WorkloadSection, 'kind'>;
type PhaseKey = Exclude<keyof PhaseSection, 'kind' | 'duration'>;

const FIELD_OF_KEY = {
  rate: 'rate',
  'working-set': 'workingSetBytes',
  hot: 'hot',
  theta: 'theta',
  read: 'read',
  scan: 'scan',
  'scan-length': 'scanLength',
  'pages-per-request': 'pagesPerRequest',
  'response-size': 'responseBytes',
  phases: 'phases',
  trace: 'trace',
} as const satisfies Record<WorkloadKey, keyof WorkloadSpec>;

const WORKLOAD_KEYS = Object.keys(FIELD_OF_KEY) as WorkloadKey[];

/** The keys besides `kind` that a kind of workload uses. */
export function workloadKeys(kind: WorkloadKind): WorkloadKey[] {
  const fields = WORKLOAD_FIELDS[kind];
  return WORKLOAD_KEYS.filter((key) => fields.includes(FIELD_OF_KEY[key]));
}

/** The keys besides `kind` and `duration` that a phase of this kind uses. */
export function phaseKeys(kind: PhaseSection['kind']): PhaseKey[] {
  return workloadKeys(kind).flatMap((key): PhaseKey[] => {
    if (key === 'rate') return ['rate-factor'];
    return key === 'working-set' || key === 'hot' || key === 'theta' ? [key] : [];
  });
}
