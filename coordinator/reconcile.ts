/**
 * What to do with what a host says that it holds, against what the witness has on record. Pure decisions; the
 * rule behind all: nothing is destroyed that might be the only copy of a guest.
 */

import type { HeldGuest } from '../proto/generated/godwit/v1/coordinator.ts';
import { GuestState } from '../proto/generated/godwit/v1/guest.ts';
import type { ClosedHandover, GuestRecord } from './ownership-store.ts';

/**
 * - `keep`: as it should be, or the host settles it by itself (it arrives, or waits for the witness's word).
 * - `discard`: another host owns this guest, or it was destroyed while this host was away.
 * - `adopt`: nobody has it on record and it runs: the coordinator's database was lost or is another one. A
 *   testbed that forgot must not kill what runs, so the guest goes on record as this host's.
 * - `stranger`: nobody has it on record and it does not run, or its spec is not known: kept, but not adopted,
 *   since another host may have the guest that runs.
 */
export type Verdict = 'keep' | 'discard' | 'adopt' | 'stranger';

export interface HeldFacts {
  readonly host: string;
  readonly held: HeldGuest;
  readonly record: GuestRecord | undefined;
  /** It was destroyed while this host had it and was away. */
  readonly tombstoned: boolean;
}

export function judgeHeld({ host, held, record, tombstoned }: HeldFacts): Verdict {
  if (tombstoned) return 'discard';
  if (record === undefined) return canRun(held.state) && held.spec !== undefined ? 'adopt' : 'stranger';
  if (record.owner === host || record.handover?.destination === host) return 'keep';
  // A copy of a later epoch than the record's cannot be judged by this record.
  return canRun(held.state) && held.epoch <= record.epoch ? 'discard' : 'keep';
}

/**
 * The closed handovers that a host which was away has to be told before it gets a lease, since it may still
 * hold a copy that is not its own any more: those that it lost, and how the last one ended.
 */
export function decisionsToTell(
  host: string,
  held: HeldGuest,
  closedLatestFirst: readonly ClosedHandover[],
): ClosedHandover[] {
  return closedLatestFirst.filter(
    ({ winner, epoch }, index) =>
      index === 0 || (winner !== host && (epoch >= held.epoch || !canRun(held.state))),
  );
}

function canRun(state: GuestState): boolean {
  return state === GuestState.GUEST_STATE_RUNNING || state === GuestState.GUEST_STATE_PAUSED;
}
