/**
 * A migration's ticket as its two hosts hold it: whether it is good for what a host is asked to do, and its
 * public part as bytes, which every proof and key is bound to.
 */

import type { Ticket } from '../../../proto/generated/godwit/v1/host.ts';
import { SEALING_LIMITS } from './limits.ts';

/** What a ticket must be for. */
export type TicketPurpose = Pick<Ticket, 'migration' | 'guest' | 'epoch' | 'source' | 'destination'>;

/**
 * Why a ticket is not good for this now, or undefined. Never names its secret.
 *
 * @param unixMs now, on the clock of the wall
 */
export function ticketProblem(
  ticket: Ticket | undefined,
  purpose: TicketPurpose,
  unixMs: number,
): string | undefined {
  if (ticket === undefined) return 'there is no ticket; the coordinator gives one to both hosts';
  for (const key of ['migration', 'guest', 'epoch', 'source', 'destination'] as const) {
    if (ticket[key] !== purpose[key]) {
      return `the ticket is foreign: its ${key} is "${ticket[key]}", not "${purpose[key]}"`;
    }
  }
  const { byteLength } = ticket.secret;
  if (byteLength !== SEALING_LIMITS.keyBytes) {
    return `the ticket's secret has ${byteLength} bytes; ${SEALING_LIMITS.keyBytes} are allowed`;
  }
  return expiryProblem(ticket, unixMs);
}

/** Whether it is too late to set the migration up; what was set up in time may go on. */
export function expiryProblem({ expiresAtMs }: Ticket, unixMs: number): string | undefined {
  if (unixMs < expiresAtMs) return undefined;
  const ago = Math.round(unixMs - expiresAtMs);
  return `the ticket expired ${ago} ms ago by this host's clock; migrate again, or set the hosts' clocks right`;
}

/** All of a ticket but its secret, as bytes that no other ticket has. */
export function publicPart(ticket: Ticket): Buffer {
  const { migration, guest, epoch, source, destination, expiresAtMs } = ticket;
  return transcript([migration, guest, String(epoch), source, destination, String(expiresAtMs)]);
}

/** Parts in their order, each behind its length: no two lists of parts give the same bytes. */
export function transcript(parts: readonly (string | Uint8Array)[]): Buffer {
  const pieces = parts.flatMap((part) => {
    const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.byteLength);
    return [length, bytes];
  });
  return Buffer.concat(pieces);
}
