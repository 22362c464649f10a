/** What the guest's threads are given when they start, and what they answer. Types only. */

import type { SharedGuest } from './shared-guest.ts';

/** A guest's thread that gets it is a vCPU: answers nothing; its state is in the control block. */
export interface VcpuWork {
  readonly role: 'vcpu';
  readonly shared: SharedGuest;
  readonly vcpu: number;
}

/** A part of memory: the pages from `fromPage` up to but not including `toPage`. */
export interface PageRange {
  readonly fromPage: number;
  readonly toPage: number;
}

/** fill.ts: answers `true` when the boot content of its range is in memory. */
export interface FillWorkerData {
  readonly shared: SharedGuest;
  readonly range: PageRange;
}

/** audit.ts: answers AuditFindings. No vCPU executes meanwhile. */
export interface AuditWorkerData {
  readonly shared: SharedGuest;
  readonly range: PageRange;
  /** The versions to expect: those of the ledger or, when there is none, those found in memory. */
  readonly versions: 'ledger' | 'memory';
}

export interface AuditFindings {
  /** Pages of which it is known what they must hold: all but those that are free. */
  readonly pagesChecked: number;
  /** The first faults by page, at most AUDIT_FAULTS_MAX. */
  readonly faults: readonly FoundFault[];
  readonly faultCount: number;
}

export interface FoundFault {
  readonly page: number;
  readonly kind: 'lost-write' | 'torn' | 'foreign';
  readonly detail: string;
}

/** recover-base.ts: answers whether the base that memory implies has this digest; then it is in place. */
export interface RecoverWorkerData {
  readonly shared: SharedGuest;
  readonly digest: string;
}
