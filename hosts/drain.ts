/**
 * How a host leaves when it is asked to end: the coordinator moves its guests elsewhere, and what could not be moved in
 * time is parked, so that it does nothing more that would be lost with it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, RpcError } from '../proto/errors.ts';
import { nowMs } from './clock.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import { HOLD } from './guest/control-layout.ts';
import type { GuestTable, HeldEntry } from './guest-table.ts';
import type { IncomingMoves } from './incoming-moves.ts';
import type { OutgoingMoves } from './outgoing-moves.ts';

export interface DrainParts {
  readonly table: GuestTable;
  readonly link: CoordinatorLink;
  readonly outgoing: OutgoingMoves;
  readonly incoming: IncomingMoves;
}

/** A guest that is still here, and why. */
export interface LeftGuest {
  readonly guest: string;
  readonly reason: string;
}

/** Why guests stayed: each by its name, and the others, of which nothing was heard. */
interface Reasons {
  readonly byGuest: ReadonlyMap<string, string>;
  readonly others: string;
  /** The coordinator has tried each. */
  readonly areAll: boolean;
}

/** Between two looks at guests whose pages are on their way here. */
const POLL_MS = 50;

/**
 * Drains the host, waiting at most so long for the guests' moves. Answers what is left: it is parked, and the host's
 * line to the coordinator is closed, so that nothing wakes it up again.
 */
export async function drainHost(parts: DrainParts, withinMs: number): Promise<LeftGuest[]> {
  const { table, link, outgoing, incoming } = parts;
  const untilMs = nowMs() + withinMs;
  const reasons = await movedAwayWhole(table, link, withinMs);
  await outgoing.served(untilMs - nowMs());
  await link.close();
  const left = [...table.entries()];
  for (const { guest, migration } of left) {
    guest.control.requestPause(HOLD.LEASE);
    if (migration === undefined) continue;
    // Without effect on one that is past its commit point.
    (outgoing.find(migration) ?? incoming.find(migration))?.cancel('this host ends');
  }
  // A guest that does not park in time is ended soon afterwards in any case.
  await Promise.allSettled(left.map(({ guest }) => guest.control.waitParkedAsync()));
  return left
    .filter((entry) => entry.tenure !== 'incoming' && table.find(entry.spec.name) === entry)
    .map((entry) => ({ guest: entry.spec.name, reason: reasonFor(entry, reasons) }));
}

/**
 * Has every guest moved away that can be. One that lacks pages cannot: it is tried again when they have come, and keeps
 * nobody else waiting until then.
 */
async function movedAwayWhole(table: GuestTable, link: CoordinatorLink, withinMs: number): Promise<Reasons> {
  const untilMs = nowMs() + withinMs;
  const isLeft = (entry: HeldEntry): boolean =>
    table.find(entry.spec.name) === entry && entry.guest.failure === undefined;
  for (;;) {
    // Looked at before: the last pages may come while the coordinator hears that some are missing.
    const arriving = [...table.entries()].filter(isArriving);
    const reasons = await movedAway(link, untilMs - nowMs(), withinMs);
    for (;;) {
      const left = arriving.filter(isLeft);
      if (!reasons.areAll || left.length === 0 || nowMs() >= untilMs) return reasons;
      if (!left.every(isArriving)) break;
      await sleep(POLL_MS);
    }
  }
}

/** Whether a guest that is this host's has not all of its pages, or not its ledger, which follows them. */
function isArriving({ guest, tenure }: HeldEntry): boolean {
  return tenure !== 'incoming' && (guest.control.missingPages > 0 || !guest.ledgerKnown);
}

/** Waits until the coordinator has tried to move every guest, or for what is left of so long. */
async function movedAway(link: CoordinatorLink, leftMs: number, withinMs: number): Promise<Reasons> {
  const byGuest = new Map<string, string>();
  try {
    for await (const { guest, reason } of link.drain(leftMs)) byGuest.set(guest, reason);
    return { byGuest, others: 'it came when the others had been moved', areAll: true };
  } catch (error) {
    const isLate = error instanceof RpcError && error.code === 'DEADLINE_EXCEEDED';
    const others = isLate ? `its move was not over within ${withinMs / 1000} s` : errorText(error);
    return { byGuest, others, areAll: false };
  }
}

function reasonFor({ tenure, spec }: HeldEntry, { byGuest, others }: Reasons): string {
  if (tenure === 'serving') return 'it runs elsewhere, and lacks pages that are here only';
  if (tenure === 'handed-over')
    return 'its destination has it, or will be asked for it: it was being handed over';
  return byGuest.get(spec.name) || others;
}
