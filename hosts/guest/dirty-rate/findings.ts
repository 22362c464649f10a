/** What a mode of a probe is told, and what it answers. Types only. */

import type { DirtyRateModeName } from '../../../proto/dirty-rate.ts';
import type { PageSample, VcpuDirtyRate, WorkingSet } from '../../../proto/generated/godwit/v1/dirty_rate.ts';

export interface ProbeSettings {
  readonly mode: DirtyRateModeName;
  readonly calcTimeMs: number;
  /** Of each GiB. */
  readonly samplePages: number;
}

export interface Findings {
  readonly dirtyPages: number;
  readonly trueDirtyPages: number;
  readonly pageSample?: PageSample;
  readonly vcpus?: readonly VcpuPages[];
  readonly workingSet?: WorkingSet;
}

/** A vCPU's pages before they are made a rate. */
export type VcpuPages = Pick<VcpuDirtyRate, 'vcpu' | 'dirtyPages' | 'trueDirtyPages'>;
