/**
 * How a host leaves when it is asked to end: the coordinator moves its guests elsewhere, and what could not be moved in
 * time is parked, so that it does nothing more that would be lost with it.
 */

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
}

/**
 * Drains the host, waiting at most so long for the guests' moves. Answers what is left: it is parked, and the host's
 * line to the coordinator is closed, so that nothing wakes it up again.
 */
export async function drainHost(parts: DrainParts, withinMs: number): Promise<LeftGuest[]> {
  const { table, link, outgoing, incoming } = parts;
  const untilMs = nowMs() + withinMs;
  const reasons = await movedAway(link, withinMs);
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

/** Waits until the coordinator has tried to move every guest, or for so long. */
async function movedAway(link: CoordinatorLink, withinMs: number): Promise<Reasons> {
  const byGuest = new Map<string, string>();
  let others = 'it came when the others had been moved';
  try {
    for await (const { guest, reason } of link.drain(withinMs)) byGuest.set(guest, reason);
  } catch (error) {
    const isLate = error instanceof RpcError && error.code === 'DEADLINE_EXCEEDED';
    others = isLate ? `its move was not over within ${withinMs / 1000} s` : errorText(error);
  }
  return { byGuest, others };
}

function reasonFor({ tenure, spec }: HeldEntry, { byGuest, others }: Reasons): string {
  if (tenure === 'serving') return 'it runs elsewhere, and lacks pages that are here only';
  if (tenure === 'handed-over')
    return 'its destination has it, or will be asked for it: it was being handed over';
  return byGuest.get(spec.name) || others;
}
